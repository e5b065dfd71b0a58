"""What an installer is: something that turns wheels on disk into a Command that unpacks them into a staging prefix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flash_doctor.command import Command
    from flash_doctor.model import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWheel:
    """A wheel on disk whose hash was computed while it arrived; `url` is where its publisher has it."""

    path: Path
    name: str
    sha256: str
    url: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def requirement(self) -> str:
        """A line with a hash that pip and uv both check; pip takes no hash for a bare path."""
        return f"{self.name} @ {self.path.as_uri()} --hash=sha256:{self.sha256}"


class Installer(Protocol):
    """Unpacks wheels into a prefix of ours, laid out as the target's own; it never touches the target."""

    @property
    def name(self) -> str: ...

    def unpack(self, requirements: Path, prefix: Path, target: Target) -> Command: ...
