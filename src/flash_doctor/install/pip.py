"""pip, driven from outside: the doctor's own pip works on the target's interpreter, which needs none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flash_doctor.command import Command
from flash_doctor.system.programs import isolated, tool_environment

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.model import Target

TIMEOUT = 1800.0


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
            timeout=TIMEOUT,
            environment={**tool_environment(os.environ), "PIP_CONFIG_FILE": os.devnull},
        )  # fmt: skip
