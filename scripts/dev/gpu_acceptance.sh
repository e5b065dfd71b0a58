#!/usr/bin/env bash
# What only a GPU can prove, on any machine with one: check, fix, verify, and two sick copies that check must name.
#
#   scripts/dev/gpu_acceptance.sh --venv DIR [--bundle DIR] [--out DIR]
#
#   --venv DIR     an environment with torch; flash-attn is installed or compiled into it
#   --bundle DIR   take everything from a bundle, without any network (made elsewhere with `flash-doctor bundle`)
#   --out DIR      where the report goes (default: tests/live/evidence/<date>-<GPU>)
#
# May be stopped and called again: a source build goes on where it was. Ends with 0 when everything was as it must be.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib/venv.sh
source "${BASH_SOURCE[0]%/*}/../lib/venv.sh"
ensure_venv

target='' bundle='' out=''
while (($#)); do
  case $1 in
    --venv) target=${2:?--venv needs a folder} ;;
    --bundle) bundle=${2:?--bundle needs a folder} ;;
    --out) out=${2:?--out needs a folder} ;;
    *)
      say "unknown option $1: --venv DIR [--bundle DIR] [--out DIR]"
      exit 2
      ;;
  esac
  shift 2
done
[[ -x $target/bin/python ]] || { say "--venv must name a virtual environment with torch" && exit 2; }
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 | tr -c 'A-Za-z0-9\n' '-') || gpu=''
[[ -n $gpu ]] || { say "nvidia-smi shows no GPU here: nothing of this could be proved" && exit 6; }
out=${out:-$root/tests/live/evidence/$(date +%Y-%m-%d)-$gpu}
mkdir -p "$out"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# shellcheck disable=SC2329  # called through step
doctor() { "$venv/bin/python" -I -m flash_doctor "$@"; }

# step NAME EXPECTED-CODES COMMAND... : its output goes to NAME.txt, its code into the report
step() {
  local name=$1 expected=$2 code=0
  shift 2
  say "$name"
  "$@" >"$out/$name.txt" 2>"$out/$name.log" || code=$?
  if [[ ",$expected," == *",$code,"* ]]; then
    printf -- '- %s: exit code %s, as it must be\n' "$name" "$code" >>"$out/report.md"
  else
    printf -- '- **%s: exit code %s, expected %s**\n' "$name" "$code" "$expected" >>"$out/report.md"
    failed=1
  fi
}

# names CODE FILE : the report of a check holds a finding of that code
names() {
  if grep -q "\"code\": \"$1\"" "$out/$2.txt"; then
    printf -- '- %s names %s\n' "$2" "$1" >>"$out/report.md"
  else
    printf -- '- **%s does not name %s**\n' "$2" "$1" >>"$out/report.md"
    failed=1
  fi
}

# sick NAME CODE SOURCE-FILE COMPILER... : a copy of the environment whose flash-attn library is another one
sick() {
  local name=$1 code=$2 copy=$scratch/$1 library
  shift 2
  cp -a "$target" "$copy"
  library=$(find "$copy" -name 'flash_attn_2_cuda*.so' | head -n 1)
  rm -f "$library"
  "$@" -o "$library"
  step "$name" 1 doctor check --json --python "$copy"
  names "$code" "$name"
}

{
  printf '# What a GPU proved, %s\n\n' "$(date -u +%Y-%m-%dT%H:%MZ)"
  nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv
  printf '\n%s\n\n' "$("$target/bin/python" -c 'import torch; print("torch", torch.__version__)')"
} >"$out/report.md"

step check 0,1 doctor check --json --python "$target"
step fix 0 doctor fix --yes --allow build --require-kernel --trust-first-download --python "$target" \
  ${bundle:+--bundle "$bundle"}
step fix-again 0 doctor fix --yes --python "$target" ${bundle:+--bundle "$bundle"}
step verify 0 doctor verify --json --python "$target"
step verify-table 0 doctor verify --python "$target"
step healthy 0 doctor check --json --python "$target"

symbol=_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_made_up
printf 'extern char wanted[] __asm__("%s");\nchar *table[] = {wanted};\n' "$symbol" >"$scratch/symbol.c"
sick missing-symbol X101 gcc -shared -fPIC -nostdlib -Wl,--unresolved-symbols=ignore-all "$scratch/symbol.c"
if command -v nvcc >/dev/null; then
  printf '__global__ void kernel() {}\nvoid call() { kernel<<<1, 1>>>(); }\n' >"$scratch/code.cu"
  sick no-code-for-this-gpu X106 nvcc -shared -Xcompiler -fPIC -gencode arch=compute_75,code=sm_75 "$scratch/code.cu"
else
  printf -- '- no-code-for-this-gpu: not tried, there is no nvcc\n' >>"$out/report.md"
fi

cat "$out/report.md"
exit "$failed"
