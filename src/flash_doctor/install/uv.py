"""uv, where it is installed: unpacks many times faster than pip."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.command import Command
from flash_doctor.system.programs import tool_environment

if TYPE_CHECKING:
    from flash_doctor.model import Target

TIMEOUT = 1800.0


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
            timeout=TIMEOUT,
            environment=tool_environment(os.environ),
        )  # fmt: skip
