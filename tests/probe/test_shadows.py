"""What the current folder and PYTHONPATH hide, compared with what a real interpreter imports there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from flash_doctor.model import Hider, Shadow, Target
from flash_doctor.probe import RECORDED, start_inside
from flash_doctor.probe.packages import read_packages, read_python
from flash_doctor.probe.shadows import read_shadows
from flash_doctor.system.process import SystemRunner
from sites import install, site_of

FILES: dict[str, str | bytes] = {"torch/__init__.py": "", "torch/_C.abi3.so": b"", "datasets/__init__.py": ""}


@pytest.fixture
def patient(venv: Path) -> Path:
    """A venv with a torch that has a compiled part, and the pure package datasets."""
    site = site_of(venv)
    install(site, "torch", "2.8.0", files=FILES)
    return venv


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def hidden(venv: Path, here: Path, environ: dict[str, str] | None = None) -> dict[str, Shadow]:
    """By name; each is checked against the interpreter itself, which finds each name and imports none."""
    variables = environ or {}
    runner = SystemRunner()
    script = start_inside(Target(python=venv / "bin" / "python", why="test"), runner, RECORDED, deep=False)
    answer = script.examine()
    packages = read_packages(answer.value)
    python = read_python(answer.value, packages)
    found = read_shadows(python, packages, answer.started, variables, here)
    assert [shadow.path for shadow in found] == [origin(venv, here, variables, shadow.name) for shadow in found]
    return {shadow.name: shadow for shadow in found}


def origin(venv: Path, here: Path, environ: dict[str, str], name: str) -> Path:
    code = f"import importlib.util, json; print(json.dumps(importlib.util.find_spec({name!r}).origin))"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [venv / "bin" / "python", "-c", code], cwd=here, env={**clean, **environ}, capture_output=True, check=True
    )
    path = Path(json.loads(done.stdout))
    return path.parent if path.name.startswith("__init__") else path


def test_nothing_is_hidden_by_an_ordinary_project(patient: Path, here: Path) -> None:
    for name in ("train.py", "README.md", "torch.txt", ".torch", "torch.json"):
        (here / name).write_text("")
    for folder in ("torch", "datasets", "wandb", "logging"):  # without __init__ these yield to what comes later
        (here / folder).mkdir()
    assert hidden(patient, here) == {}


def test_a_file_named_torch(patient: Path, here: Path) -> None:
    (here / "torch.py").write_text("import torch\n")
    found = hidden(patient, here)["torch"]
    assert (found.hides, found.hider) == (site_of(patient) / "torch", Hider.CURRENT_FOLDER)
    assert found.lacks_compiled
    assert not found.source_tree


def test_a_checkout_hides_as_a_package_and_one_that_is_built_lacks_nothing(patient: Path, here: Path) -> None:
    (here / "torch").mkdir()
    (here / "torch" / "__init__.py").write_text("")
    (here / "torch.py").write_text("")
    (here / "pyproject.toml").write_text("")
    found = hidden(patient, here)["torch"]
    assert (found.path, found.source_tree, found.lacks_compiled) == (here / "torch", True, True)
    (here / "torch" / "lib").mkdir()
    (here / "torch" / "lib" / "libtorch.so").write_text("")
    assert not hidden(patient, here)["torch"].lacks_compiled


def test_the_standard_library_but_for_what_is_loaded_already(patient: Path, here: Path) -> None:
    for name in ("random", "os", "site", "sys", "time"):
        (here / f"{name}.py").write_text("")
    assert set(hidden(patient, here)) == {"random"}
    (site_of(patient) / "early.pth").write_text("import random\n")
    assert hidden(patient, here) == {}, "a start-up file has loaded the real one"


def test_pythonpath_and_its_empty_entry(patient: Path, here: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "datasets.py").write_text("")
    found = hidden(patient, here, {"PYTHONPATH": f"/nowhere:{tmp_path / 'shared'}:"})
    assert found["datasets"].hider is Hider.PYTHONPATH
    (here / "torch.py").write_text("")
    assert hidden(patient, here, {"PYTHONPATH": f"{tmp_path / 'shared'}:"})["torch"].hider is Hider.PYTHONPATH
    assert hidden(patient, here, {"PYTHONPATH": ""})["torch"].hider is Hider.CURRENT_FOLDER
    assert "torch" not in hidden(patient, here.parent, {"PYTHONPATH": f"{tmp_path / 'shared'}"})


def test_pythonsafepath_keeps_the_current_folder_off(patient: Path, here: Path) -> None:
    (here / "torch.py").write_text("")
    (here / "datasets.py").write_text("")
    found = hidden(patient, here, {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(here)})
    assert {shadow.hider for shadow in found.values()} == {Hider.PYTHONPATH}


def test_what_is_installed_from_here_is_no_shadow(patient: Path, here: Path) -> None:
    (here / "torch").mkdir()
    (here / "torch" / "__init__.py").write_text("")
    url = {"url": here.as_uri(), "dir_info": {"editable": True}}
    install(site_of(patient), "torch", "2.9.0", info={"direct_url.json": json.dumps(url)})
    assert hidden(patient, here) == {}


def test_site_packages_do_not_hide_themselves(patient: Path) -> None:
    assert hidden(patient, site_of(patient)) == {}


def test_folders_that_are_gone_or_enormous(patient: Path, here: Path) -> None:
    assert hidden(patient, Path("/dev/null")) == {}
    for number in range(3000):
        (here / f"step{number}.py").touch()
    (here / "torch.py").symlink_to("torch.py")  # a link to itself
    (here / "datasets.py").mkdir()
    assert hidden(patient, here) == {}
