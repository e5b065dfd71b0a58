#!/usr/bin/env bash
# Step 0: the virtual environment that the other steps fill. PYTHON names another interpreter than python3.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/setup.sh"

if [[ -x $python ]] && "$python" -c '' 2>/dev/null; then
  did "$target is there already, with $("$python" --version)"
else
  run "${PYTHON:-python3}" -m venv --clear "$target"
  did "made $target"
fi
run "$doctor" check --host-only
