"""Where the doctor keeps what it may lose: downloads and caches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def cache_folder(environ: Mapping[str, str]) -> Path:
    """FLASH_DOCTOR_CACHE, else flash-doctor in XDG_CACHE_HOME, else in ~/.cache; it need not exist yet."""
    if chosen := environ.get("FLASH_DOCTOR_CACHE"):
        return Path(chosen)
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "flash-doctor"
