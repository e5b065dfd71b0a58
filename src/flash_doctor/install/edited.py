"""Which files of a fix somebody edited afterwards: undoing it would throw their work away."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.fetch import hash_of
from flash_doctor.install.journal import DONE
from flash_doctor.system.bounds import record_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flash_doctor.install.journal import Journal
    from flash_doctor.system.claims import Claimed


def edited_since(journal: Journal) -> list[Path]:
    """Files that came in and are others now, as their RECORD tells.

    Only what is newer than the end of the fix is read: in a copy of the environment that may be all of it, unchanged.

    Raises:
        BadInput: a RECORD of the fix is gone or damaged.
    """
    finished = (journal.folder / DONE).stat().st_mtime_ns
    arrived = [arrival.path for arrival in journal.swap.arriving]
    newer = [path for path in arrived if path.lstat().st_mtime_ns > finished and path.is_file()]
    if not newer:
        return []
    records = [path for path in arrived if path.name == "RECORD" and path.parent.suffix == ".dist-info"]
    promised = {path: digest for record in records for path, digest in _promised(record)}
    return [path for path in newer if path in promised and promised[path] != _digest(path)]


def _promised(record: Path) -> Iterator[tuple[Path, str]]:
    """Paths and digests as RECORD writes them: the algorithm, and base64 without its padding."""
    try:
        yield from _accept(record_rows(record), record.parents[1])
    except (OSError, ValueError) as error:
        message = f"{record} cannot be read, so nobody can say which files were edited since"
        raise BadInput(message, evidence=(str(error),)) from error


def _accept(claim: Claimed[list[list[str]]], site: Path) -> Iterator[tuple[Path, str]]:
    """The rows with a hash; which of these paths are ours is asked where they are looked up."""
    for row in claim.unproved():
        if len(row) > 1 and row[1].startswith("sha256="):
            yield site / row[0], row[1]


def _digest(path: Path) -> str:
    digest = bytes.fromhex(hash_of(path))
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
