"""What a verification proved, and whose fault it is when it proved nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from flash_doctor.model.part import Part
from flash_doctor.model.report import Finding


class Level(Enum):
    """How far a proof reached; a later one includes the earlier."""

    NONE = "none"
    STATIC = "static"
    IMPORT = "import"
    KERNEL = "kernel"


class Blame(Enum):
    """Why a proof stopped: the library is wrong, or the machine hinders a proof either way."""

    NOTHING = "nothing"
    LIBRARY = "library"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Forward attention on one device, in TFLOP/s: the library's and torch's own; `ceiling`, a matrix product's."""

    device: str
    library: float
    torch: float
    ceiling: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The result of `doctor verify`: `cases` right answers on `devices`, and what was found."""

    level: Level
    blame: Blame
    findings: tuple[Finding, ...]
    torch: Part[str]
    library: Part[str]
    devices: tuple[str, ...]
    cases: int
    speeds: tuple[Speed, ...]
