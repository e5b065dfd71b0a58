"""Which running processes have files open that are about to go (read from /proc).

Command lines hold tokens and passwords, and root reads those of everybody: of a process only its number and the short
name that the kernel keeps are told, and whether it is the caller's own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PROC = Path("/proc")
_BINARY = (".so", ".pyd")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A process, the kernel's short name of it (at most 15 characters), and one of the files that it has mapped."""

    pid: int
    name: str
    own: bool
    file: Path

    @property
    def told(self) -> str:
        """The process in words."""
        return f"process {self.pid} ({self.name}), {'yours' if self.own else 'of another user'}"


def users_of(paths: Collection[Path], proc: Path = PROC) -> tuple[User, ...]:
    """Processes that have one of the files mapped; those of other users cannot be looked at and are passed over."""
    wanted = {str(path.resolve()): path for path in paths if path.suffix in _BINARY or ".so." in path.name}
    return tuple(_users(wanted, proc)) if wanted else ()


def _users(wanted: dict[str, Path], proc: Path) -> Iterator[User]:
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            maps = (folder / "maps").read_text(errors="surrogateescape")
            name = (folder / "comm").read_text(errors="replace").strip()
            owner = folder.stat().st_uid
        except OSError:
            continue
        found = next((path for path in map(_mapped, maps.splitlines()) if path in wanted), None)
        if found:
            yield User(pid=int(folder.name), name=_shown(name), own=owner == os.geteuid(), file=wanted[found])


def _shown(name: str) -> str:
    """A process chooses its name itself."""
    return "".join(sign if sign.isprintable() else "?" for sign in name[:15]) or "?"


def _mapped(line: str) -> str:
    """The file of one line of maps: address, permissions, offset, device, inode, path."""
    parts = line.split(maxsplit=5)
    return parts[5] if len(parts) == 6 else ""
