#!/usr/bin/env bash
# Step 2: axolotl, without letting it move torch. AXOLOTL names a version, as in AXOLOTL=0.13.2.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/setup.sh"
need_target

present=$(installed axolotl)
if [[ -n $present && ${AXOLOTL:-$present} == "$present" ]]; then
  did "axolotl $present is there already"
else
  torch=$(installed torch)
  install_beside_torch "axolotl${AXOLOTL:+==$AXOLOTL}"
  did "installed axolotl $(installed axolotl) beside torch $torch"
fi
run "$doctor" check --python "$target"
