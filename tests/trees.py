"""A folder tree as a value: path, type, mode, content, link target of everything in it."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def snapshot(root: Path) -> dict[str, tuple[str, int, str]]:
    """Everything below `root`; two equal snapshots mean that nobody can tell the trees apart."""
    return {str(path.relative_to(root)): _entry(path) for path in sorted(root.rglob("*"))}


def _entry(path: Path) -> tuple[str, int, str]:
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if path.is_symlink():
        return "link", 0, str(path.readlink())
    if path.is_dir():
        return "folder", mode, ""
    return "file", mode, hashlib.sha256(path.read_bytes()).hexdigest()
