#!/usr/bin/env bash
# Step 3: flash-attn through the doctor, then DeepSpeed and monitoring beside it.
# DeepSpeed compiles its operators when they are first used, so that nothing is compiled here.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/setup.sh"
need_target

run "$doctor" fix --python "$target" --yes
missing=()
for name in deepspeed wandb tensorboard; do
  [[ -n $(installed "$name") ]] || missing+=("$name")
done
if ((${#missing[@]})); then
  install_beside_torch setuptools wheel ninja packaging psutil
  DS_BUILD_OPS=0 install_beside_torch --no-build-isolation "${missing[@]}"
  did "flash-attn $(installed flash-attn), installed ${missing[*]}"
else
  did "flash-attn $(installed flash-attn), DeepSpeed and monitoring are there already"
fi
run "$doctor" check --python "$target"
