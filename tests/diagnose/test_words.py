"""Commands in remedies can be typed as they stand: in any folder, whatever the path, with pip or without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import split

import pytest
from ward import patient

from flash_doctor.diagnose import diagnose, words
from flash_doctor.facts import Facts
from flash_doctor.model import Absent, CommandLine, Python, Target
from flash_doctor.system.commands import delete, install, uninstall

SPACED = Path("/home/ada/my 'own' env/bin/python")


def commands(name: str, python: Path = SPACED, program: str = "flash-doctor") -> list[str]:
    sick = patient(name)
    report = diagnose(Target(python=python, why="given"), sick.environment, Facts(), program=program)
    return [line for finding in report.findings if finding.remedy for line in finding.remedy.commands]


def typed(line: CommandLine | None) -> list[str]:
    assert line is not None
    return split(line)


def python_of(name: str = "healthy-h100") -> Python:
    python = patient(name).environment.python
    assert isinstance(python, Python)
    return python


OURS = ("flash-absent", "cpu-torch", "gpu-of-tomorrow", "flash-twice", "fix-cut-off")


@pytest.mark.parametrize("name", OURS)
def test_our_own_commands_name_the_target(name: str) -> None:
    ours = [split(line) for line in commands(name) if line.startswith("flash-doctor")]
    assert ours
    assert all(line[2:4] == ["--python", str(SPACED)] for line in ours)
    assert all("allow" not in "".join(line) or line[4] == "--allow" for line in ours)


def test_our_own_commands_begin_with_what_the_user_typed() -> None:
    ours = [line for line in commands("flash-absent", program="scripts/doctor") if "doctor" in line]
    assert ours
    assert all(line.startswith("scripts/doctor ") for line in ours)


def test_paths_are_quoted_for_the_shell() -> None:
    python = replace(python_of(), executable=SPACED)
    assert typed(install(python, "numpy<2"))[0] == str(SPACED)
    bare = replace(python, pip=Absent(absent="no pip"))
    assert typed(install(bare, "numpy<2")) == ["uv", "pip", "install", "numpy<2", "--python", str(SPACED)]
    assert typed(uninstall(bare, "numpy")) == ["uv", "pip", "uninstall", "numpy", "--python", str(SPACED)]
    assert typed(delete(SPACED)) == ["rm", "-r", str(SPACED)]


@pytest.mark.parametrize(
    ("version", "ends"),
    [
        ("2.8.0", "torch==2.8.0"),
        ("2.8.0+cu126", "torch==2.8.0+cu126 --index-url https://download.pytorch.org/whl/cu126"),
        ("2.8.0+cpu", "torch==2.8.0"),
        ("2.8.0+cu999", "torch==2.8.0"),
    ],
)
def test_the_same_torch_comes_from_the_index_of_its_build(version: str, ends: str) -> None:
    line = words.same_torch(version, python_of(), Facts())
    assert line is not None
    assert line.endswith(f"--no-deps {ends}")


def test_a_mixed_machine_is_told_to_use_the_gpus_that_can() -> None:
    assert "export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=0" in commands("a100-beside-t4")


def test_a_newer_companion_does_not_bring_another_torch() -> None:
    (line,) = [line for line in commands("xformers-window") if "install" in line]
    assert "torch==2.8.0" in split(line)


def test_leftovers_are_deleted_by_one_command_for_each_folder() -> None:
    (line,) = [line for line in commands("leftovers") if line.startswith("rm")]
    assert line == "rm -r /opt/train/lib/python3.12/site-packages/~*"
