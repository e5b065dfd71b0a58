#!/usr/bin/env bash
# Step 1: torch, in the CUDA build that suits the driver and the GPU. TORCH names a version, as in TORCH=2.8.0.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/setup.sh"
need_target

before=$(installed torch)
run "$doctor" fix --python "$target" --want "torch${TORCH:+==$TORCH}" --yes
after=$(installed torch)
if [[ -n $before && $before == "$after" ]]; then
  did "torch $after is there already"
else
  did "installed torch $after"
fi
run "$doctor" check --python "$target"
