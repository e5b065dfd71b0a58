"""Paths that a stranger wrote down (a journal, a RECORD) are proved to lie inside the folders they may speak of.

A path lies inside when its folder, all links followed, does: the entry itself may be a link, which is moved or deleted
as a link. Names are made normal as text and one `realpath` is asked a folder, not a row: a fix of torch has 30,000
rows in some 3,000 folders.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Inside:
    """Judges paths against the folders `homes`; relative ones start at the first of them."""

    def __init__(self, first: Path, *others: Path) -> None:
        self.base = os.path.abspath(first)  # noqa: PTH100 links are kept: a path is answered as it was meant
        self.homes = tuple({_real(str(home)) for home in (first, *others)})
        self._folders: dict[str, bool] = {}

    def path(self, name: str) -> Path | None:
        """The path, absolute and without `..`; None when it leads out, or is one of the folders itself."""
        plain = _normal(name if name.startswith("/") else f"{self.base}/{name}")
        return Path(plain) if can_exist(plain) and self._holds(plain) else None

    def outside(self, paths: Iterable[Path]) -> list[Path]:
        """Those of the paths that lead out."""
        return [path for path in paths if not self(path)]

    def __call__(self, path: Path) -> bool:
        return self.path(str(path)) is not None

    def _holds(self, plain: str) -> bool:
        folder, _, name = plain.rpartition("/")
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = any(_below(_real(folder or "/"), home) for home in self.homes)
        # a home's own parent is outside, so the home itself is too; of a home in a home its name tells
        return known and bool(name) and plain not in self.homes


def can_exist(path: str) -> bool:
    """Whether the system takes such a path: no zero byte, and no half of a character, as JSON may hold."""
    try:
        return "\0" not in path and (path.isascii() or bool(os.fsencode(path)))
    except UnicodeEncodeError:
        return False


def _normal(path: str) -> str:
    """Without `.`, `..` and doubled slashes, as text: most names are normal, and looking is cheaper than rebuilding."""
    return os.path.normpath(path) if "/." in path or "//" in path or path.endswith("/") else path


def _real(path: str) -> str:
    return os.path.realpath(path)


def _below(path: str, home: str) -> bool:
    return path == home or path.startswith(home.rstrip("/") + "/")
