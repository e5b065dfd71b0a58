"""Which running processes have files open that are about to go (read from /proc)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PROC = Path("/proc")
_BINARY = (".so", ".pyd")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A process, the start of its command line, and one of the files that it has mapped."""

    pid: int
    command: str
    file: Path


def users_of(paths: Collection[Path], proc: Path = PROC) -> tuple[User, ...]:
    """Processes that have one of the files mapped; those of other users cannot be looked at and are passed over."""
    wanted = {str(path.resolve()): path for path in paths if path.suffix in _BINARY or ".so." in path.name}
    return tuple(_users(wanted, proc)) if wanted else ()


def _users(wanted: dict[str, Path], proc: Path) -> Iterator[User]:
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            maps = (folder / "maps").read_text(errors="surrogateescape")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        found = next((path for path in map(_mapped, maps.splitlines()) if path in wanted), None)
        if found:
            yield User(pid=int(folder.name), command=command[:80], file=wanted[found])


def _mapped(line: str) -> str:
    """The file of one line of maps: address, permissions, offset, device, inode, path."""
    parts = line.split(maxsplit=5)
    return parts[5] if len(parts) == 6 else ""
