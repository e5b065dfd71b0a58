"""What `fix` and `bundle` are to reach, from the same options that `plan` takes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flash_doctor.cli.machines import overlay
from flash_doctor.cli.plan import find_lookup, words_of
from flash_doctor.install.choose_plan import ForGoal
from flash_doctor.model import Goal

if TYPE_CHECKING:
    from pathlib import Path


def for_goal(
    want: list[str] | None,
    keep: list[str] | None,
    allow: list[str] | None,
    *,
    wheelhouse: Path | None,
    offline: bool = False,
) -> ForGoal:
    """The goal as it was typed; the answer is the one that `plan` gives for it."""
    goal = Goal(wanted=words_of(want) or Goal().wanted, keep=words_of(keep) or Goal().keep, allow=words_of(allow))
    return ForGoal(
        goal=goal, wheelhouse=wheelhouse, offline=offline, overlay=overlay(), lookup=partial(find_lookup, wheelhouse)
    )
