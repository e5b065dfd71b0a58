"""The numbered setup scripts, run for real: real venvs, real pip from a folder of wheels, a doctor that takes notes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wheels import build_wheel

SCRIPTS = Path(__file__).parents[2] / "scripts"
STEPS = sorted(path.name for path in SCRIPTS.glob("[0-9]*_*.sh"))
NOTES = '#!/bin/sh\necho "$@" >>"$NOTES"\ncase "$1" in "$FAILS") exit 3 ;; esac\n'


class Field:
    """A folder with a note-taking doctor, a folder of wheels and nothing else pip could reach."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes, self.wheels = folder, folder / "notes", folder / "wheels"
        self.wheels.mkdir()
        self.notes.touch()
        (folder / "doctor").write_text(NOTES)
        (folder / "doctor").chmod(0o755)

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    def run(self, step: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "FLASH_DOCTOR"))}
        ours = {
            "DOCTOR": str(self.folder / "doctor"),
            "NOTES": str(self.notes),
            "FAILS": "nothing",
            "PYTHON": sys.executable,
            "PIP_NO_INDEX": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": str(self.wheels),
        }
        return subprocess.run(
            [str(SCRIPTS / step), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**quiet, **ours, **variables},
            timeout=120,
        )

    def told(self) -> list[str]:
        return self.notes.read_text().splitlines()

    def add(self, name: str, version: str, *requires: str) -> None:
        build_wheel(self.wheels, name, version, {f"{name.replace('-', '_')}.py": ""}, requires=requires)

    def install(self, *names: str) -> None:
        argv = [str(self.python), "-m", "pip", "install", "-q", "--no-index", "--find-links", str(self.wheels), *names]
        subprocess.run(argv, check=True)

    def version(self, name: str) -> str:
        code = f"from importlib import metadata; print(metadata.version({name!r}))"
        return subprocess.run([str(self.python), "-c", code], capture_output=True, text=True).stdout.strip()


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path)


def test_there_are_four_steps() -> None:
    assert [name[0] for name in STEPS] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("step", STEPS)
def test_a_dry_run_changes_nothing_and_shows_every_command(field: Field, step: str) -> None:
    done = field.run(step, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"{step}: dry run, nothing was changed" in done.stdout
    assert "would run:" in done.stdout
    assert "check" in done.stdout.splitlines()[-1]
    assert field.told() == []
    assert not (field.folder / "venv").exists()


@pytest.mark.parametrize("step", STEPS)
def test_an_unknown_option_is_a_usage_error(field: Field, step: str) -> None:
    done = field.run(step, "--frobnicate")
    assert done.returncode == 2
    assert "--frobnicate" in done.stderr


@pytest.mark.parametrize("arguments", [("--venv",), ("--venv", "")])
def test_an_option_without_its_folder_is_a_usage_error(field: Field, arguments: tuple[str, ...]) -> None:
    done = field.run("0_create_venv.sh", *arguments)
    assert (done.returncode, done.stderr) == (2, "0_create_venv.sh: --venv needs a folder\n")


@pytest.mark.parametrize("step", STEPS)
def test_help_says_what_a_step_does(field: Field, step: str) -> None:
    done = field.run(step, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Step {step[0]}: ")
    assert "--dry-run" in done.stdout


def test_a_folder_with_other_things_is_never_cleared(field: Field) -> None:
    (field.folder / "work").mkdir()
    (field.folder / "work" / "thesis").write_text("years")
    done = field.run("0_create_venv.sh", "--venv", "work")
    assert done.returncode == 2
    assert "other things than a virtual environment" in done.stderr
    assert (field.folder / "work" / "thesis").read_text() == "years"
    (field.folder / "empty").mkdir()
    assert field.run("0_create_venv.sh", "--venv", "empty").returncode == 0


def test_nothing_is_left_in_the_folder_for_temporary_files(field: Field) -> None:
    field.run("0_create_venv.sh")
    (field.folder / "tmp").mkdir()
    done = field.run("2_install_axolotl.sh", TMPDIR=str(field.folder / "tmp"))
    assert done.returncode != 0, "there is no axolotl"
    assert [path.name for path in (field.folder / "tmp").iterdir() if path.name.startswith("tmp.")] == []


@pytest.mark.parametrize("step", STEPS[1:])
def test_without_the_environment_the_first_step_is_named(field: Field, step: str) -> None:
    done = field.run(step)
    assert done.returncode == 2
    assert "run 0_create_venv.sh first" in done.stderr


@pytest.mark.parametrize("step", ["1_install_torch.sh", "3_install_training_stack.sh"])
def test_the_doctors_exit_code_is_the_scripts(field: Field, step: str) -> None:
    field.run("0_create_venv.sh")
    done = field.run(step, FAILS="fix")
    assert done.returncode == 3
    assert field.told()[-1].startswith("fix"), "it stops at the first failure"


def test_the_first_step_makes_the_environment_once_and_repairs_it(field: Field) -> None:
    assert f"made {field.folder}/venv" in field.run("0_create_venv.sh").stdout
    (field.folder / "venv" / "mine").touch()
    again = field.run("0_create_venv.sh")
    assert "there already" in again.stdout
    assert (field.folder / "venv" / "mine").exists()
    field.python.unlink()
    assert "made" in field.run("0_create_venv.sh").stdout
    assert field.told() == ["check --host-only"] * 3


def test_torch_comes_through_the_doctor(field: Field) -> None:
    field.run("0_create_venv.sh")
    assert field.run("1_install_torch.sh", TORCH="2.8.0").returncode == 0
    assert f"fix --python {field.folder}/venv --want torch==2.8.0 --yes" in field.told()
    assert field.told()[-1] == f"check --python {field.folder}/venv"


def test_axolotl_never_moves_torch(field: Field) -> None:
    field.run("0_create_venv.sh")
    for version in ("2.8.0", "2.9.0"):
        field.add("torch", version)
    field.add("axolotl", "1.0", "torch>=2.7")
    field.add("axolotl", "2.0", "torch>=2.9")
    field.install("torch==2.8.0")
    done = field.run("2_install_axolotl.sh")
    assert done.returncode == 0, done.stderr
    assert "installed axolotl 1.0 beside torch 2.8.0" in done.stdout
    assert field.version("torch") == "2.8.0"
    again = field.run("2_install_axolotl.sh")
    assert "there already" in again.stdout
    refused = field.run("2_install_axolotl.sh", AXOLOTL="2.0")
    assert refused.returncode != 0
    assert field.version("torch") == "2.8.0"


def test_the_training_stack_goes_beside_torch(field: Field) -> None:
    field.run("0_create_venv.sh")
    for name in ("setuptools", "wheel", "ninja", "packaging", "psutil", "wandb", "tensorboard"):
        field.add(name, "1.0")
    field.add("torch", "2.8.0")
    field.add("torch", "2.9.0")
    field.add("deepspeed", "1.0", "torch")
    field.install("torch==2.8.0")
    done = field.run("3_install_training_stack.sh")
    assert done.returncode == 0, done.stderr
    assert "installed deepspeed wandb tensorboard" in done.stdout
    assert (field.version("torch"), field.version("deepspeed")) == ("2.8.0", "1.0")
    assert field.told()[1] == f"fix --python {field.folder}/venv --yes"
    assert "there already" in field.run("3_install_training_stack.sh").stdout


def test_nothing_of_the_current_folder_is_executed(field: Field) -> None:
    """A cloned training repository may have a `pip.py`, by design or not."""
    ran = field.folder / "ran"
    for name in ("pip", "venv", "ensurepip", "csv", "email", "zipfile", "sitecustomize"):
        (field.folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write(__file__)\n")
    field.add("axolotl", "1.0")
    assert field.run("0_create_venv.sh").returncode == 0
    done = field.run("2_install_axolotl.sh")
    assert done.returncode == 0, done.stderr
    assert not ran.exists(), ran.read_text()
