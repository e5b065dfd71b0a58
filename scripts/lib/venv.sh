# shellcheck shell=bash
# Sourced by scripts/doctor, scripts/test and scripts/dev/*: makes the checkout's own .venv, once, and repairs it.
#
#   ensure_venv [EXTRA]    afterwards $venv/bin/python runs flash-doctor with that extra (test, dev) installed
#
# What is installed is what scripts/locks/ names, file by file, by sha256: first pip itself, since a Python brings the
# one of its own age, then all the rest with that pip. The checkout comes last and apart: pip takes no folder under
# hashes, and with everything there already it needs neither an index nor a build environment.
#
# A stamp per extra is written last, so that a venv whose making was interrupted has none and is made again. It holds
# the sums of what the venv was made from. Times would not do: a clone, an archive and rsync set them as they like.

# The folders of the checkout and of its venv, for those who source this.
root=$(CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
venv=${FLASH_DOCTOR_VENV:-$root/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
log=$venv/set-up.log

say() { printf 'flash-doctor: %s\n' "$*" >&2; }

ensure_venv() {
  local extra=${1:-}
  is_ready "$extra" || make_venv "$extra"
}

# Sums of all that a venv with that extra is made from. The paths are part of them: a checkout that was moved, or two
# that share a venv, would otherwise run what lies elsewhere.
inputs_of() {
  local sum=sha256sum
  command -v "$sum" >/dev/null || sum='cksum'
  "$sum" -- "$root/pyproject.toml" "$root/scripts/locks/pip.txt" "$root/scripts/locks/${1:-run}.txt"
}

is_ready() {
  local stamp=$venv/.flash-doctor${1:+-$1}
  [[ -x $venv/bin/python && -r $stamp && $(<"$stamp") == "$(inputs_of "$1")" ]]
}

make_venv() (
  extra=$1
  # meant for other programs; wrong, they would break the making of ours, as (hence -I) a module in the current folder
  forget_variables PYTHON HATCH
  # before anything is made
  [[ -x $venv/bin/python ]] || find_python >/dev/null
  begin
  # two first uses at once: the second waits, then finds the stamp
  exec 9>>"$venv/set-up.lock"
  if command -v flock >/dev/null; then flock 9; fi
  if is_ready "$extra"; then exit 0; fi
  if ! "$venv/bin/python" -I -m pip --version >"$log" 2>&1; then
    python=$(find_python)
    say "making $venv with $("$python" --version) (first use)"
    find "$venv" -mindepth 1 -maxdepth 1 ! -name 'set-up.*' -exec rm -rf -- {} +
    "$python" -I -m venv "$venv" >"$log" 2>&1 || fail "$python could not make a virtual environment" \
      "on Debian and Ubuntu: apt install python3-venv"
  fi
  say "installing flash-doctor and its dependencies into $venv (half a minute, once)"
  install_from_locks "${extra:-run}"
  # also where PYTHONDONTWRITEBYTECODE is set: compiling it all at every start would cost 0.1 s. In a checkout of
  # somebody else's that cannot be, and it is slower.
  "$venv/bin/python" -I -m compileall -q "$root/src" >>"$log" 2>&1 || true
  inputs_of "$extra" >"$venv/.flash-doctor${extra:+-$extra}"
  say "ready"
)

# Is the folder one to make a venv in? Afterwards it is there, and we may write in it.
begin() {
  local owner
  if [[ -e $venv && ! -O $venv && $(stat -c %u -- "$venv") != $(stat -c %u -- "$root") ]]; then
    say "$venv belongs to $(stat -c %U -- "$venv"), who could change what runs; name another folder in FLASH_DOCTOR_VENV."
    exit 2
  fi
  if is_foreign; then
    say "$venv holds other things than a virtual environment of ours; name another folder in FLASH_DOCTOR_VENV."
    exit 2
  fi
  if ! mkdir -p -- "$venv" 2>/dev/null || [[ ! -w $venv || ! -x $venv ]]; then
    owner=$(stat -c %U -- "$root")
    say "$venv is not made, or not for this state of the checkout, and you may not write there."
    # on a read-only file system the owner himself may not
    [[ -O $root ]] || say "have $owner run it once: $(printf %q "$0")"
    say "keep an environment of your own: FLASH_DOCTOR_VENV=~/.cache/flash-doctor/venv $(printf %q "$0")"
    exit 2
  fi
}

# Would making a venv delete what is not ours? Ours are those that we began, those with a stamp, and those with a pip,
# which are completed and not made again.
is_foreign() {
  [[ -e $venv ]] || return 1
  [[ -d $venv ]] || return 0
  [[ -z $(ls -A -- "$venv" 2>/dev/null) || -e $venv/set-up.lock ]] && return 1
  compgen -G "$venv/.flash-doctor*" >/dev/null && return 1
  [[ -f $venv/pyvenv.cfg ]] || return 0
  "$venv/bin/python" -I -m pip --version >/dev/null 2>&1 && return 1
  # made by hand or by uv, without pip: is something installed in it?
  local installed
  for installed in "$venv"/lib/python*/site-packages/*.{dist,egg}-info; do
    [[ ! -e $installed || ${installed##*/} =~ ^(pip|setuptools)- ]] || return 0
  done
  return 1
}

# All from the lock of that name. Of pip's settings those hold that say where files come from; not one that says where
# they go, or that nothing is to be done, by variable or by file.
install_from_locks() {
  local name=$1 settings setting locks=$root/scripts/locks
  local pip=("$venv/bin/python" -I -m pip install --quiet --no-input --no-deps)
  settings=$("$venv/bin/python" -I "$root/scripts/lib/pip_settings.py" 2>>"$log") ||
    fail "pip could not read its settings" "they are in: $(printf %q "$venv/bin/python") -I -m pip config debug"
  forget_variables PIP_ _PIP_
  while IFS= read -r setting; do [[ -z $setting ]] || export "${setting?}"; done <<<"$settings"
  cd -- "$venv" || exit 2
  "${pip[@]}" --require-hashes --only-binary :all: --requirement "$locks/pip.txt" >>"$log" 2>&1 ||
    fail_to_install "$locks/pip.txt" "$locks/$name.txt"
  "${pip[@]}" --require-hashes --only-binary :all: --requirement "$locks/$name.txt" >>"$log" 2>&1 ||
    fail_to_install "$locks/$name.txt" "$locks/$name.txt"
  "${pip[@]}" --no-index --no-build-isolation --editable "$root" >>"$log" 2>&1 ||
    fail "pip could not install the checkout itself" "it is built from $root/pyproject.toml"
}

# Unset every variable whose name begins so, but the one that is ours.
forget_variables() {
  local prefix name
  for prefix in "$@"; do
    for name in $(compgen -v "$prefix"); do
      [[ $name == PYTHON ]] || unset "$name"
    done
  done
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    if [[ -n $candidate ]] && "$candidate" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  say "no Python 3.10 or newer was found on PATH."
  say "install one, or name one: PYTHON=/path/to/python3.12 $0"
  exit 2
}

# Which lock failed, and which holds all that is needed (pip too).
fail_to_install() {
  local lock=$1 whole=$2
  if grep -q 'DO NOT MATCH THE HASHES' "$log"; then
    fail "pip could not install the dependencies: the index gave another file than the one whose sha256 is in $lock" \
      "nothing of that file was installed; ask who runs the index how it came there"
  fi
  fail "pip could not install the dependencies in $lock" \
    "does the index answer, and does it carry these very files? which one it is:
    $(printf %q "$venv/bin/python") -I -m pip config list
flash-doctor: without an index: on a like machine that has one, with the same Python,
    python3 -m pip download --only-binary :all: -d FOLDER -r $(printf %q "$whole")
flash-doctor: and here
    PIP_NO_INDEX=1 PIP_FIND_LINKS=/path/of/FOLDER $(printf %q "$0")"
}

fail() {
  tail -n 15 "$log" >&2
  say "$1."
  say "$2"
  say "the whole output: $log"
  exit 2
}
