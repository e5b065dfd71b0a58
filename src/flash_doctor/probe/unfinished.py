"""Fixes of ours that were cut off, seen from outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def unfinished_fixes(sites: Iterable[Path]) -> Iterator[Path]:
    """Where one promised to undo itself and has not said since that it is done (install/journal.py)."""
    for site in (site for site in sites if os.access(site, os.X_OK)):  # of a closed one `closed_site` tells
        for journal in (site / ".flash-doctor").glob("*/journal.json"):
            if not (journal.parent / "done").exists():
                yield journal.parent
