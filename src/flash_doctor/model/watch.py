"""What `doctor watch` tells: one event at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from flash_doctor.model.report import Finding


class Moment(Enum):
    """What kind of event it is: only a `FINDING` is about something unhealthy."""

    STARTED = "started"
    FINDING = "finding"
    RECOVERED = "recovered"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One thing that happened, `at` seconds since 1970, in the file or folder `where`, at that step and epoch."""

    at: float
    moment: Moment
    where: str
    step: int | None
    epoch: float | None
    finding: Finding
