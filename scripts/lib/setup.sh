# shellcheck shell=bash
# Sourced by the numbered setup scripts. Each takes:
#   --dry-run     show the commands, run none of them
#   --venv DIR    the environment that is set up (default: $FLASH_DOCTOR_TARGET, else ./venv)
#
# A script stops at its first failure with that command's exit code; the doctor's codes are in the README.

# shellcheck disable=SC2034  # used by those who source this
doctor=${DOCTOR:-$(readlink -f "${BASH_SOURCE[0]%/*}/..")/doctor}
target=${FLASH_DOCTOR_TARGET:-$PWD/venv}
dry_run=false
step=${0##*/}

while (($#)); do
  case $1 in
    --dry-run) dry_run=true ;;
    --venv)
      if [[ -z ${2:-} ]]; then
        printf '%s: --venv needs a folder\n' "$step" >&2
        exit 2
      fi
      target=$2
      shift
      ;;
    -h | --help)
      sed -n '2,/^set /{/^# /s/^# //p}' "$0"
      printf 'It takes --dry-run (show the commands, run none) and --venv DIR (default: %s).\n' "$target"
      exit 0
      ;;
    *)
      printf '%s: unknown option %s; it takes --dry-run and --venv DIR\n' "$step" "$1" >&2
      exit 2
      ;;
  esac
  shift
done
python=$target/bin/python

# One line that says what this step did.
did() {
  if $dry_run; then
    printf '%s: dry run, nothing was changed\n' "$step"
  else
    printf '%s: %s\n' "$step" "$*"
  fi
}

# Run a command, or show it.
run() {
  if $dry_run; then
    printf 'would run:'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@"
  fi
}

# Steps after the first need what the first one made.
need_target() {
  if ! $dry_run && [[ ! -x $python ]]; then
    printf '%s: %s is no virtual environment yet: run 0_create_venv.sh first\n' "$step" "$target" >&2
    exit 2
  fi
}

# The version of an installed distribution; nothing when it is not there.
installed() {
  [[ -x $python ]] || return 0
  "$python" -I -c 'import sys
from importlib import metadata
try:
    print(metadata.version(sys.argv[1]))
except metadata.PackageNotFoundError:
    pass' "$1"
}

# Install packages while torch and what is paired with it stay exactly as they are.
install_beside_torch() {
  constraints=$(mktemp)
  trap 'rm -f "$constraints"' EXIT
  if [[ -x $python ]]; then
    "$python" -I -c 'from importlib import metadata
for found in metadata.distributions():
    name = found.metadata["Name"] or ""  # half-removed ones have none
    if name.lower().startswith(("torch", "triton", "nvidia-", "flash")):
        print(f"{name}=={found.version}")' >"$constraints"
  fi
  # the environment needs no pip of its own
  run "$python" -I -m pip --version >/dev/null 2>&1 || run "$python" -I -m ensurepip --upgrade >/dev/null
  run "$python" -I -m pip install --quiet --disable-pip-version-check --constraint "$constraints" "$@"
}
