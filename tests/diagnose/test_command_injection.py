"""A machine whose every text is an attack on the shell: whatever is advised runs nothing of it.

One text of a recorded machine at a time is replaced; each command that is then advised is really run by sh, in an
empty folder, where every program is a stand-in that does nothing. The proof is that the attack's file is not there.
"""

from __future__ import annotations

import json
import random
import shlex
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from ward import names, patient

from claimed import decoded
from flash_doctor.diagnose import diagnose
from flash_doctor.errors import BadInput
from flash_doctor.facts import Facts
from flash_doctor.model import Environment
from flash_doctor.system.codec import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTACKS = (
    "$(touch${IFS}pwn)",
    "`touch pwn`",
    ";touch pwn;",
    "|touch pwn",
    "&& touch pwn #",
    "\ntouch pwn\n",
    "'; touch pwn; '",
    '"; touch pwn; "',
    "x' $(touch pwn) 'x",
    "\u2019;touch pwn;\u2019",
    ">pwn",
    "--python=$(touch pwn)",
)
PROGRAMS = (
    "pip",
    "uv",
    "flash-doctor",
    "sudo",
    "apt",
    "python",
    "python3",
    "nvidia-smi",
    "rm",
    "cat",
    "ls",
    "export",
    "ldconfig",
    "git",
    "conda",
    "which",
    "modprobe",
)
TRIES = 12  # texts of a machine, chosen anew for each


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all texts in a JSON value."""
    if isinstance(value, str):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def attacked(text: str, path: tuple[str | int, ...], attack: str) -> Environment | None:
    """The machine with one text replaced; None where the value would not be read."""
    whole = json.loads(text)
    place = whole
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = attack
    try:
        return decoded(Environment, whole)
    except (BadInput, ValueError):
        return None


def advised(environment: Environment, name: str) -> set[str]:
    report = diagnose(patient(name).target, environment, Facts())
    return {line for finding in report.findings if finding.remedy for line in finding.remedy.commands}


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """An empty folder, and beside it the only programs that there are."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        path = programs / name
        path.write_text("#!/bin/sh\nexit 0\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    touch = programs / "touch"
    touch.write_text('#!/bin/sh\n: >"$1"\n')
    touch.chmod(0o755)
    (tmp_path / "empty").mkdir()
    return tmp_path


def run(sandbox: Path, commands: set[str]) -> list[str]:
    """What lies in the folder after all of them were run by sh, each on its own."""
    for command in sorted(commands):
        subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=sandbox / "empty",
            env={"PATH": str(sandbox / "bin"), "HOME": str(sandbox)},
            capture_output=True,
            timeout=30,
        )
    return sorted(path.name for path in (sandbox / "empty").iterdir())


def test_the_sandbox_sees_an_attack(sandbox: Path) -> None:
    assert run(sandbox, {f"pip install {ATTACKS[0]}"}) == ["pwn"]


@pytest.mark.parametrize("name", names())
def test_no_text_of_a_machine_becomes_a_command(name: str, sandbox: Path) -> None:
    chosen = random.Random(name)
    text = json.dumps(encode(patient(name).environment))
    honest = advised(patient(name).environment, name)
    every = list(places(json.loads(text)))
    changed: set[str] = set()
    for path in chosen.sample(every, min(TRIES, len(every))):
        environment = attacked(text, path, chosen.choice(ATTACKS))
        if environment is not None:
            changed |= advised(environment, name) - honest
    for command in changed:
        shlex.split(command)
        assert "\n" not in command
    assert run(sandbox, changed) == []
