"""Nodes for a test: environments with a torch of one's choice, one that hangs, and an srun that runs its command."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fakes import Answer, printed
from flash_doctor.errors import CommandFailed
from flash_doctor.system.process import Command, Completed, SystemRunner
from sites import install, site_of

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.system.process import Running


def environment(place: Path, torch: str) -> Path:
    """A virtual environment in which that torch (as 2.8.0+cu128) seems to be installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    release, _, label = torch.partition("+cu")
    cuda = f"{label[:-1]}.{label[-1]}"
    version = f"__version__ = {torch!r}\ndebug = False\ncuda = {cuda!r}\ngit_version = {release!r}\nhip = None\n"
    install(site_of(place), "torch", release, files={"torch/version.py": version, "torch/__init__.py": ""})
    return place


def hanging(place: Path) -> Path:
    """An environment whose interpreter never answers; it writes its process id into `started` beside it."""
    (place / "bin").mkdir(parents=True)
    python = place / "bin" / "python"
    python.write_text(
        f"#!/bin/sh\necho $$ > {place}/started.draft\nmv {place}/started.draft {place}/started\nsleep 300\n"
    )
    python.chmod(0o755)
    return place


@dataclass
class LocalSlurm:
    """Answers sinfo and scontrol from a table; srun runs its command here, with the node's own variables."""

    states: dict[str, str]
    variables: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    seen: list[Command] = field(default_factory=list)

    def start(self, command: Command) -> Running:
        self.seen.append(command)
        program, *rest = command.argv
        if program == "sinfo":
            return Answer(printed("".join(f"{name} {state}\n" for name, state in self.states.items())))
        if program == "scontrol":
            return Answer(printed("".join(f"{name}\n" for name in rest[-1].split(","))))
        node = rest[rest.index("-w") + 1]
        if node in self.refused:
            return Answer(printed("", 1, f"srun: error: {self.refused[node]}\n"))
        local = Command(
            argv=tuple(rest[rest.index("sh") :]),
            timeout=command.timeout,
            stdin=command.stdin,
            limit=command.limit,
            environment=self.variables.get(node, {}),
        )
        return SystemRunner().start(local)

    def run(self, command: Command) -> Completed:
        return self.start(command).wait()


@dataclass
class NoSlurm:
    """A machine without Slurm."""

    def start(self, command: Command) -> Answer:
        return Answer(CommandFailed(f"{command.argv[0]} could not be started: no such file"))

    def run(self, command: Command) -> Completed:
        return self.start(command).wait()
