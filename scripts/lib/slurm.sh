# shellcheck shell=bash
# Sourced by slurm-prolog and slurm-health-check, which slurmd runs as root on every node: what is asked of the doctor
# there, how its answer is read, and how that is logged.
#
#   read_settings [FILE]   $doctor, $time_limit, $unchecked and PATH from root's file; $fault says what is wrong in it
#   ask_doctor SECONDS     $result (healthy, sick or unchecked) and $words, the line that says why
#   log TEXT               to syslog and stderr
#
# A process table, a memory or a disk that users filled must not decide: no here-document (a file in the temporary
# folder), nothing is written, and whatever fails before there is an answer leaves $result as it is: unchecked.

# Slurm gives a prolog no PATH, and some variables whose text is the user's: two of its own are kept.
while IFS= read -r -d '' entry; do
  name=${entry%%=*}
  # "unset" would evaluate a name such as a[$(…)]
  case $name in
    SLURM_CONF | SLURMD_NODENAME | '' | *[!A-Za-z0-9_]*) ;;
    *) unset -v "$name" 2>/dev/null ;;
  esac
done <"/proc/$$/environ"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Whose fault they find is the machine's. Not among them: host (any user can fill a disk or /dev/shm), and what lies in
# an environment or a home folder.
families=driver,gpu

# shellcheck disable=SC2034 # for those who source this
{
  result=unchecked
  words=""
  fault=""
  doctor=""
  time_limit=50
  unchecked=0
}
# the checkout's own, made by scripts/doctor, where none is on PATH
# shellcheck disable=SC2154 # of the script that sources this
root=${script%/*}/..

# Data, never run: a NAME=value a line, # before a comment. Without the usual file, what stands above holds.
read_settings() {
  local file=${1:-/etc/flash-doctor/prolog.conf} descriptor line number=0
  if [[ $# -eq 0 && ! -e $file && ! -L $file ]]; then
    return
  fi
  if ! { exec {descriptor}<"$file"; } 2>/dev/null; then
    fault="$file cannot be read"
    return
  fi
  if ! is_ours "/dev/fd/$descriptor"; then
    fault="$file is not root's alone: it must be a file of root's that nobody else may write to"
  else
    while IFS= read -r line || [[ -n $line ]]; do
      number=$((number + 1))
      set_one "$line" || fault=${fault:-"$file, line $number: no such setting, or not a value for it"}
    done <&"$descriptor"
  fi
  exec {descriptor}<&-
}

# A regular file of root's (or of whoever runs this) that neither a group nor others may write to.
is_ours() {
  local owner mode kind
  IFS=' ' read -r owner mode kind < <(stat --dereference --format='%u %a %F' -- "$1" 2>/dev/null)
  [[ $kind == regular* && ($owner == 0 || $owner == "${EUID:-0}") ]] && ((!(8#$mode & 8#022)))
}

# shellcheck disable=SC2034 # for those who source this
set_one() {
  local name=${1%%=*} value=${1#*=}
  case $1 in
    '' | '#'*) ;;
    FLASH_DOCTOR=/*) doctor=$value ;;
    FLASH_DOCTOR_TIME_LIMIT=*) is_number "$value" 3600 && ((10#$value)) && time_limit=$((10#$value)) ;;
    FLASH_DOCTOR_PROLOG_UNCHECKED=*) is_number "$value" 255 && unchecked=$((10#$value)) ;;
    PATH=/*) [[ :$value: != *:[!/]* && :$value: != *::* ]] && PATH=$value ;;
    SLURM_CONF=/*) export SLURM_CONF=$value ;;
    *) false ;;
  esac
}

is_number() {
  [[ $1 =~ ^[0-9]{1,4}$ ]] && ((10#$1 <= $2))
}

ask_doctor() {
  local limit=$1 descriptor answer="" code process
  if [[ -n $fault ]]; then
    words=$fault
    return
  fi
  if [[ -z $doctor ]]; then
    doctor=$(type -P flash-doctor) || doctor=$root/.venv/bin/flash-doctor
  fi
  if [[ ! -x $doctor ]]; then
    words="there is no program $doctor"
    return
  fi
  if ! is_ours "$doctor"; then
    words="$doctor is not root's alone, so root does not run it"
    return
  fi
  # nothing can lie below /dev/null: neither a cache nor a home is there to be read, filled or written
  exec {descriptor}< <(exec env --ignore-environment "PATH=$PATH" HOME=/dev/null/home LC_ALL=C COLUMNS=300 \
    FLASH_DOCTOR_CACHE=/dev/null/cache PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1 \
    timeout --kill-after=5 "$limit" "$doctor" check --host-only --only "$families" --strict </dev/null 2>&1)
  process=$!
  # not until the end of the output: a process that SIGKILL does not end would hold it open for ever
  IFS= read -r -d '' -t $((limit + 8)) -u "$descriptor" answer
  wait "$process"
  code=$?
  exec {descriptor}<&-
  judge "$code" "$answer"
}

# An error is what the doctor itself says so: a Python that cannot import it ends with 1, too.
judge() {
  local code=$1 answer=$'\n'$2
  case $code in
    0) [[ $answer == *$'\nScore: '* ]] && result=healthy ;;
    1) [[ $answer == *$'\nBROKEN at '* && $answer == *$'\nScore: '* ]] && result=sick ;;
  esac
  case $result-$code in
    healthy-*) words="no problem was found" ;;
    sick-*) words=$(line_behind '+([0-9]) error?(s)' "$answer") ;;
    *-124 | *-137) words="flash-doctor did not end within $limit seconds" ;;
    *-6) words=$(line_behind '@(+([0-9]) check?(s) could not be made|flash-doctor: error: *)' "$answer") ;;
    *) words="flash-doctor ended with $code; its last words: $(last_line "$answer")" ;;
  esac
  words=$(plain "$words")
}

# The line behind the first one that is like a pattern, else the last line.
line_behind() (
  shopt -s extglob
  text=$2
  while [[ $text == *$'\n'* ]]; do
    text=${text#*$'\n'}
    # shellcheck disable=SC2053 # a pattern is meant
    if [[ ${text%%$'\n'*} == $1 ]]; then
      text=${text#*$'\n'}
      printf '%s' "${text%%$'\n'*}"
      return
    fi
  done
  last_line "$2"
)

last_line() {
  local text=$1
  text=${text%"${text##*[![:space:]]}"}
  text=${text:-nothing}
  printf '%s' "${text##*$'\n'}"
}

# On one line, without signs that move a terminal's cursor or end a reason in Slurm.
plain() {
  local text=${1//[![:print:]]/ }
  text=${text//[\"\']/}
  while [[ $text == [[:space:]-]* ]]; do text=${text#?}; done
  printf '%s' "${text:0:200}"
}

log() {
  printf 'flash-doctor: %s\n' "$1" >&2
  # a syslog that takes nothing must not hold a node up; the kernel's log is then what is left
  timeout 5 logger --tag flash-doctor --priority daemon.err -- "$1" </dev/null 2>/dev/null ||
    { printf '<3>flash-doctor: %s\n' "$1" >/dev/kmsg; } 2>/dev/null
}
