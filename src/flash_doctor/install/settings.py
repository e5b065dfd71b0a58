"""The variables that a plan may set for a compile: a closed list, since some make a compile run anything.

A variable can name a library that is loaded (LD_PRELOAD), a folder that code is imported from (PYTHONPATH), or a
program that is started (CC, CUDA_HOME). A plan file may say how much is compiled, for which GPUs, and with how many
jobs; the user's own variables are another matter, and win (treat/build.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

_COUNT, _SWITCH = r"[1-9]\d{0,3}", "TRUE|FALSE"
# name -> what its value may look like
ALLOWED = {
    "FLASH_ATTENTION_FORCE_BUILD": _SWITCH,
    "FLASH_ATTENTION_SKIP_CUDA_BUILD": _SWITCH,
    "FLASH_ATTN_CUDA_ARCHS": r"(\d{2,3}(;\d{2,3}){0,31})?",
    "TORCH_CUDA_ARCH_LIST": r"\d{1,2}\.\d[af]?(\+PTX)?([; ]\d{1,2}\.\d[af]?(\+PTX)?){0,31}",
    "MAX_JOBS": _COUNT,
    "NVCC_THREADS": _COUNT,
}


def accept_settings(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The settings of a build as a plan file names them, each looked up.

    Raises:
        BadInput: one that is not in the list, whose value has another form, or that stands there twice.
    """
    accepted: dict[str, str] = {}
    for name, value in pairs:
        if name in accepted:
            raise _refused(name, "it is set twice")
        if name not in ALLOWED:
            raise _refused(name, f"a plan may set {', '.join(ALLOWED)}")
        if not re.fullmatch(ALLOWED[name], value, re.ASCII):
            raise _refused(name, f"its value is {cut(value, 80)!r}")
        accepted[name] = value
    return tuple(accepted.items())


def _refused(name: str, why: str) -> BadInput:
    message = f"the plan sets {cut(name, 80)!r} for a compile, which a plan may not"
    advice = "If you want it, set it yourself, in the environment that `flash-doctor fix` is called in."
    return BadInput(message, evidence=(why,), advice=advice)
