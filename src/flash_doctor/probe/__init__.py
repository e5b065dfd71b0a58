"""The probe: reads a machine and a target environment, and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.probe.target_script import TIMEOUT, Manner, start_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flash_doctor.model import Environment, Target
    from flash_doctor.probe.target_script import RunningScript
    from flash_doctor.system.process import Runner

DEEP_TIMEOUT = 900.0
# What is read in the target, and what is looked for in its folders besides.
_OF_TARGET = ("python", "packages", "torch", "flash", "extensions")
_IN_TARGET = {*_OF_TARGET, "requirements", "toolchain"}
# Whose files are compared with their RECORD when the caller names no others: torch and what must fit it.
RECORDED = (
    "torch",
    "torchvision",
    "torchaudio",
    "torchao",
    "triton",
    "pytorch-triton*",
    "flash-attn*",
    "flashattn*",
    "dropout-layer-norm",
    "rotary-emb",
    "xformers",
    "vllm*",
    "bitsandbytes",
    "deepspeed",
    "nvidia-*",
    "cuda-*",
)


def probe(
    target: Target,
    runner: Runner,
    *,
    deep: bool = False,
    requirements: Path | None = None,
    host_only: bool = False,
    cache: Path | None = None,
    recorded: Sequence[str] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Environment:
    """Read the machine, and the target unless `host_only`; what cannot be read is Unknown in its part.

    Args:
        target: the interpreter, as `find_target` gives it.
        runner: starts commands.
        deep: compare file hashes too, which reads gigabytes.
        requirements: the user's requirements file.
        host_only: leave the target alone; its parts are Unknown.
        cache: the doctor's cache folder, else the user's.
        recorded: distributions whose files are compared with RECORD (`*` ends a beginning), else torch's companions.
        left_out: parts that are not looked at, and why; the target is not started where all of its own are here.

    Raises:
        TargetError: the target is no Python that can be examined.
        BadInput: the requirements file is missing or wrong.
    """
    names = recorded or RECORDED
    unread = {**dict.fromkeys(_OF_TARGET if host_only else (), "not looked at: --host-only"), **(left_out or {})}
    inside = not host_only and not unread.keys() >= _IN_TARGET
    script = start_inside(target, runner, names, deep=deep) if inside else None
    from flash_doctor.probe.compose import compose  # late: the target's script works while the rest is imported
    from flash_doctor.probe.start import Inquiry

    def again(manner: Manner) -> RunningScript:
        return start_inside(target, runner, names, deep=deep, manner=manner)

    inquiry = Inquiry(script, again) if script else None
    prefix = None if host_only else target.python.parent.parent
    return compose(inquiry, runner, prefix=prefix, requirements=requirements, cache=cache, left_out=unread)


def start_inside(
    target: Target, runner: Runner, recorded: Sequence[str], *, deep: bool, manner: Manner = Manner.PLAIN
) -> RunningScript:
    """Start inside.py in the target."""
    script = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
    arguments = [",".join(recorded), *["deep"] * deep]
    timeout = DEEP_TIMEOUT if deep else TIMEOUT
    return start_script(target, runner, script, arguments, timeout=timeout, manner=manner)
