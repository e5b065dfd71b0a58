#!/usr/bin/env bash
# Step 0: the virtual environment that the other steps fill. PYTHON names another interpreter than python3.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/setup.sh"

if [[ -x $python ]] && "$python" -I -c '' 2>/dev/null; then
  did "$target is there already, with $("$python" --version)"
elif [[ -e $target && ! -f $target/pyvenv.cfg && -n $(ls -A -- "$target") ]]; then
  # --clear would delete it all
  printf '%s: %s holds other things than a virtual environment; name another folder: --venv DIR\n' "$step" "$target" >&2
  exit 2
else
  run "${PYTHON:-python3}" -I -m venv --clear "$target"
  did "made $target"
fi
run "$doctor" check --host-only
