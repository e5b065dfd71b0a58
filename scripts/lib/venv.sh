# shellcheck shell=bash
# Sourced by scripts/doctor, scripts/test and .ci/run: makes the checkout's own .venv, once, and repairs it.
#
#   ensure_venv [EXTRA]    afterwards $venv/bin/python runs flash-doctor with that extra (test, dev) installed
#
# A stamp per extra is written last, so that a venv whose making was interrupted has none and is made again.
# A stamp older than pyproject.toml means that the dependencies may have changed.

# The folders of the checkout and of its venv, for those who source this.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${FLASH_DOCTOR_VENV:-$root/.venv}

say() { printf 'flash-doctor: %s\n' "$*" >&2; }

ensure_venv() {
  local extra=${1:-}
  local stamp=$venv/.flash-doctor${extra:+-$extra}
  if [[ -x $venv/bin/python && $stamp -nt $root/pyproject.toml ]]; then
    return
  fi
  make_venv "$extra" "$stamp"
}

make_venv() (
  extra=$1 stamp=$2
  # meant for other programs; wrong, they would break the making of ours, as (hence -I) a module in the current folder
  unset PYTHONHOME PYTHONPATH
  # two first uses at once: the second waits, then finds the stamp
  exec 9>"$venv.lock"
  if command -v flock >/dev/null; then flock 9; fi
  if [[ -x $venv/bin/python && $stamp -nt $root/pyproject.toml ]]; then
    exit 0
  fi
  log=$venv.log
  if ! "$venv/bin/python" -I -m pip --version >"$log" 2>&1; then
    # --clear would delete it all
    if [[ -e $venv && ! -f $venv/pyvenv.cfg && -n $(ls -A -- "$venv") ]]; then
      say "$venv holds other things than a virtual environment; name another folder in FLASH_DOCTOR_VENV."
      exit 2
    fi
    python=$(find_python)
    say "making $venv with $("$python" --version) (first use)"
    "$python" -I -m venv --clear "$venv" >"$log" 2>&1 || fail "$python could not make a virtual environment" \
      "on Debian and Ubuntu: apt install python3-venv"
  fi
  say "installing flash-doctor and its dependencies into $venv (half a minute, once)"
  "$venv/bin/python" -I -m pip install --quiet --disable-pip-version-check --editable "$root${extra:+[$extra]}" \
    >"$log" 2>&1 || fail "pip could not install the dependencies" \
    "is a package index reachable? its address is pip's own setting: $venv/bin/python -m pip config list"
  # also where PYTHONDONTWRITEBYTECODE is set: compiling 15,000 lines at every start would cost 0.1 s
  "$venv/bin/python" -I -m compileall -q "$root/src" >>"$log" 2>&1
  : >"$stamp"
  say "ready"
)

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    if [[ -n $candidate ]] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  say "no Python 3.10 or newer was found on PATH."
  say "install one, or name one: PYTHON=/path/to/python3.12 $0"
  exit 2
}

fail() {
  tail -n 15 "$venv.log" >&2
  say "$1."
  say "$2"
  say "the whole output: $venv.log"
  exit 2
}
