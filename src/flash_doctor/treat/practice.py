"""Who treats, with what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flash_doctor.command import Runner
from flash_doctor.facts import Facts
from flash_doctor.resolve.lookup import Lookup
from flash_doctor.treat.desk import Desk
from flash_doctor.treat.options import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What starts processes, what is known, what the user chose, and the way to the user.

    `lookup` makes whoever asks a package index (None: nobody is there).
    """

    runner: Runner
    facts: Facts
    options: Options
    desk: Desk
    lookup: Callable[[], Lookup | None] = lambda: None
