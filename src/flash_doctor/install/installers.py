"""pip and uv as installers: each gives the Command that unpacks wheels on disk into a staging prefix."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flash_doctor.system.paths import isolated, tool_environment
from flash_doctor.system.process import Command

if TYPE_CHECKING:
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


PIP_TIMEOUT = 1800.0


class Pip:
    """`pip --python TARGET install --prefix STAGE`, from files and hashes alone.

    pip works in the target's interpreter, whose prefix may hold a pip.conf that --isolated still reads: it could send
    files (`root`) and the log elsewhere. Without a network nothing of any configuration is needed.
    """

    name = "pip"

    def unpack(self, requirements: Path, prefix: Path, target: Target) -> Command:
        return Command(
            argv=(
                *isolated(), "-m", "pip", "--python", str(target.python), "--isolated", "--no-input",
                "--disable-pip-version-check", "--no-cache-dir", "install", "--quiet", "--no-index", "--no-deps",
                "--ignore-installed", "--require-hashes", "--no-compile", "--no-warn-script-location",
                "--break-system-packages", "--prefix", str(prefix), "--requirement", str(requirements),
            ),
            timeout=PIP_TIMEOUT,
            environment={**tool_environment(os.environ), "PIP_CONFIG_FILE": os.devnull},
        )  # fmt: skip


UV_TIMEOUT = 1800.0


@dataclass(frozen=True, slots=True)
class Uv:
    """`uv pip install --python TARGET --prefix STAGE`, from files and hashes alone.

    With a cache of our own beside the prefix, gone with it: uv links its files from there instead of copying a
    gigabyte from /tmp, which may be memory. The user's cache would keep a second copy of every big wheel, and its hard
    links would tie the target to it.
    """

    program: Path
    name: str = "uv"

    def unpack(self, requirements: Path, prefix: Path, target: Target) -> Command:
        return Command(
            argv=(
                str(self.program), "pip", "install", "--quiet", "--no-config", "--no-progress", "--offline",
                "--no-index", "--no-deps", "--reinstall", "--require-hashes", "--break-system-packages",
                "--cache-dir", str(prefix.parent / "uv-cache"), "--python", str(target.python),
                "--prefix", str(prefix), "--requirement", str(requirements),
            ),
            timeout=UV_TIMEOUT,
            environment=tool_environment(os.environ),
        )  # fmt: skip
