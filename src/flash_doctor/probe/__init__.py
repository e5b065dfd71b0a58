"""The probe: reads a machine and a target environment, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flash_doctor.command import Runner
    from flash_doctor.model import Environment, Target


def probe(
    target: Target,
    runner: Runner,
    *,
    deep: bool = False,
    requirements: Path | None = None,
    host_only: bool = False,
    cache: Path | None = None,
    recorded: Sequence[str] | None = None,
) -> Environment:
    """Read the machine, and the target unless `host_only`; what cannot be read is Unknown in its part.

    Args:
        target: the interpreter, as `find_target` gives it.
        runner: starts commands.
        deep: compare file hashes too, which reads gigabytes.
        requirements: the user's requirements file.
        host_only: leave the target alone; its parts are Unknown.
        cache: the doctor's cache folder, else the user's.
        recorded: names of the distributions whose files are compared with RECORD (`*` at the end for any ending),
            else torch and its companions.

    Raises:
        TargetError: the target is no Python that can be examined.
        BadInput: the requirements file is missing or wrong.
    """
    # late: a child that runs one module of this package must not pay for the others
    from flash_doctor.probe.compose import compose

    return compose(
        target,
        runner,
        deep=deep,
        requirements=requirements,
        host_only=host_only,
        cache=cache,
        recorded=recorded,
    )
