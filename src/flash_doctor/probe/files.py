"""Small files of /proc, /sys and /etc, read so that a missing or unreadable one is an answer, not an error."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.model.part import Part, Unknown
from flash_doctor.system.files import read_regular
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from pathlib import Path

_NUMBERS = re.compile(r"\d+(?:\.\d+)+")


def text_of(path: Path) -> str | None:
    """The file's text, or None where there is none to be had."""
    try:
        return read_regular(path).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def exists(path: Path) -> bool:
    """Whether something is there; Path.exists raises where a folder on the way is closed to us."""
    return os.access(path, os.F_OK)


def names_in(folder: Path) -> list[str]:
    """Sorted names in a folder; none where it is missing or closed to us."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def version_in(text: str, pattern: re.Pattern[str] = _NUMBERS) -> Part[Version]:
    """The version that `pattern` finds (its last group, else the whole match)."""
    found = pattern.search(text)
    try:
        return Version(found[found.lastindex or 0]) if found else Unknown(unknown=f"no version in {cut(text, 80)!r}")
    except ValueError as error:  # InvalidVersion, or more digits than int takes
        return Unknown(unknown=str(error))
