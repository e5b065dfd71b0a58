"""The wheel whose address setup.py guessed: whether its authors ever published it decides what "not found" means."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flash_doctor.errors import BadFacts
from flash_doctor.system.linear import Found, Pattern

if TYPE_CHECKING:
    from flash_doctor.facts import Facts

_GUESSED = Pattern(
    r"(?i)guessing wheel url:[^\n]{0,300}/(?P<dist>flash_attn)-(?P<version>[\w.]{3,20})(?:\+|%2b)(?P<build>[\w.]{3,60})"
    r"-(?P<python>cp\d{2,3})-cp\d{2,3}m?-(?P<platform>[\w.]{3,60})\.whl"
)
_DIST, _VERSION, _BUILD, _PLATFORM, _PYTHONS = 0, 1, 2, 9, 12  # columns of a row of wheels/<publisher>.json


def guessed_wheel_exists(text: str, facts: Facts) -> bool | None:
    """Whether the guessed wheel is among those its authors published; None where the text guesses none."""
    found = _GUESSED.search(text.encode("utf-8", "replace"))
    return any(_names(row, found) for row in _published(facts)) if found else None


def _names(row: list[str], found: Found) -> bool:
    wanted = found["dist"], found["version"], found["build"], found["platform"]
    same = (row[_DIST], row[_VERSION], row[_BUILD], row[_PLATFORM]) == wanted
    return same and found["python"] in {python.rstrip("m") for python in row[_PYTHONS].split()}


def _published(facts: Facts) -> list[list[str]]:
    path = facts.folder / "wheels" / "dao-ailab.json"
    try:
        rows: list[list[str]] = json.loads(path.read_text(encoding="utf-8"))["families"]
    except (OSError, ValueError, KeyError) as error:
        message = f"{path.name} of the wheel matrix cannot be read: {error}"
        raise BadFacts(message, advice="Install flash-doctor again; its own files are damaged.") from error
    return rows
