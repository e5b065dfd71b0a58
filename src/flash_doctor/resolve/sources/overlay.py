"""The shipped wheels with the overlay of `matrix refresh` laid over them, and how old each is.

An overlay's file replaces the shipped one of the same name while it was made from that very file (`base` is its
sha256): after an upgrade of the doctor, or when it is damaged, it is left aside and that is said.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadFacts
from flash_doctor.model.plan import Knowledge
from flash_doctor.resolve.sources.matrix import Wheels, load_wheels
from flash_doctor.system.bounds import read_json
from flash_doctor.system.owner import is_trusted
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.facts import Facts
    from flash_doctor.system.claims import Claimed

AGAIN = "`flash-doctor matrix refresh` makes it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Every wheel that is known, and the age of that knowledge."""

    wheels: Wheels
    knowledge: Knowledge


def overlay_folder(data: Path) -> Path:
    """Where the overlay lies in the user's data folder."""
    return data / "wheel_matrix" / "wheels"


def load_known(facts: Facts, overlay: Path) -> Known:
    """The shipped wheels, with each usable file of the overlay in place of the shipped one.

    Raises:
        BadFacts: a shipped file breaks an invariant; what is wrong in the overlay is a warning.
    """
    shipped, warnings = facts.folder / "wheels", []
    usable: list[Path] = []
    for path in sorted(overlay.glob("*.json")):
        fault = _unusable(path, shipped / path.name, facts)
        if fault:
            warnings.append(f"the refreshed facts in {path} are not used: {fault}; {AGAIN}")
        else:
            usable.append(path)
    wheels = load_wheels(
        shipped, only=tuple(usable), publishers=facts.publishers, knows_cuda=facts.drivers.knows if usable else None
    )
    dates = {origin.file: origin.date for origin in wheels.origins}
    refreshed = [date for file, date in dates.items() if file in usable]
    knowledge = Knowledge(
        shipped=max((date for file, date in dates.items() if file not in usable), default=""),
        refreshed=max(refreshed, default=None),
        warnings=tuple(warnings),
    )
    return Known(wheels=wheels, knowledge=knowledge)


def base_of(path: Path) -> str:
    """The sha256 of a shipped file, which an overlay made from it names."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unusable(path: Path, shipped: Path, facts: Facts) -> str:
    """Why a file of the overlay is left aside, or nothing."""
    if not is_trusted(path):
        return "somebody else could have written them"
    try:
        if not shipped.is_file() or _accept(read_json(path)) != base_of(shipped):
            return "they were made from other facts than this flash-doctor's"
        load_wheels(only=(path,), publishers=facts.publishers, knows_cuda=facts.drivers.knows)
    except (OSError, ValueError, AttributeError, TypeError, KeyError, BadFacts) as error:
        return f"damaged ({_first(error)})"
    return ""


def _accept(claim: Claimed[Any]) -> object:
    """What the file says it was made from; the rest of it is read, and judged, by `load_wheels`."""
    return claim.unproved().get("base")


def usable(path: Path, shipped: Path, facts: Facts) -> bool:
    """Whether a file of the overlay is there, whole, and made from the shipped file."""
    return path.is_file() and not _unusable(path, shipped, facts)


def _first(error: Exception) -> str:
    return cut(str(error).splitlines()[0], 200) if str(error) else type(error).__name__
