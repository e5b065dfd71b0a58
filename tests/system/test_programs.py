"""Programs and children never come from the current folder, whatever PATH and PYTHONPATH say of it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flash_doctor.errors import CommandFailed
from flash_doctor.system import scratch
from flash_doctor.system.paths import absolute_entries, find_program, isolated, tool_environment
from flash_doctor.system.process import Command, SystemRunner
from users import STRANGER, as_root


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a program in it and in its bin."""
    for place in (tmp_path, tmp_path / "bin"):
        place.mkdir(exist_ok=True)
        (place / "tool").write_text("#!/bin/sh\necho mine\n")
        (place / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", ["", ":", ".", "./", "bin", "..", ":/nonexistent:", "./bin:.", "~"])
def test_entries_that_are_not_absolute_are_passed_over(here: Path, path: str) -> None:
    assert find_program("tool", path) is None
    assert find_program("tool", f"{path}:{here}/bin") == here / "bin" / "tool"


@pytest.mark.parametrize("name", ["./tool", "bin/tool", "../here/tool"])
def test_a_relative_path_is_no_program(here: Path, name: str) -> None:
    assert find_program(name, str(here)) is None
    with pytest.raises(CommandFailed, match="could not be started"):
        SystemRunner().run(Command(argv=(name,)))


def test_a_path_in_full_is_itself_when_it_can_be_run(here: Path) -> None:
    assert find_program(str(here / "tool")) == here / "tool"
    (here / "tool").chmod(0o644)
    assert find_program(str(here / "tool")) is None


def test_children_run_in_an_empty_private_folder(here: Path) -> None:
    seen = SystemRunner().run(Command(argv=("sh", "-c", "pwd; ls -A; stat -c %a .")))
    folder, mode = seen.text.split()
    assert mode == "700"
    assert Path(folder).parent == scratch.run_folder()
    assert SystemRunner().run(Command(argv=("pwd",), cwd=here)).text.strip() == str(here)


def test_children_do_not_get_the_current_folder_in_their_search_paths(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f":.:bin:{os.defpath}:")
    monkeypatch.setenv("PYTHONPATH", f":src:.:{here}/lib")
    seen = SystemRunner().run(Command(argv=("sh", "-c", 'echo "$PATH|$PYTHONPATH"')))
    assert seen.text.strip() == f"{os.defpath}|{here}/lib"
    none = SystemRunner().run(Command(argv=("sh", "-c", 'echo "${PYTHONPATH-gone}"'), environment={"PYTHONPATH": None}))
    assert none.text.strip() == "gone"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_the_folder_is_ours_alone_whatever_the_umask(
    mask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch, "_made", {})
    before = os.umask(mask)
    try:
        folder = scratch.run_folder()
    finally:
        os.umask(before)
    assert folder is not None
    assert folder.parent == tmp_path
    for path in (folder, folder / "empty"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    (folder / "empty" / "core").write_text("what a child left")
    scratch.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_place_in_which_others_rename_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch, "_made", {})
    tmp_path.chmod(0o777)
    folder = scratch.run_folder()
    assert folder is not None
    assert folder.parent != tmp_path
    scratch.remove()


def test_where_no_folder_can_be_made_children_run_in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_candidates", lambda: [Path("/nonexistent"), Path("/proc")])
    monkeypatch.setattr(scratch, "_made", {})
    assert SystemRunner().run(Command(argv=("pwd",))).text == "/\n"


def test_the_program_leaves_no_folder_behind(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "flash_doctor", "check", "--host-only"], env=environ, capture_output=True)
    assert list(tmp_path.iterdir()) == []


def test_tools_get_nothing_that_bends_python_and_find_the_users_files(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "pip.conf").write_text("")
    (here / "wheels").mkdir()
    environ = {
        "PYTHONPATH": "/x", "PYTHONSTARTUP": "x.py", "PYTHONHOME": "/x", "UV_PROJECT": ".", "UV_WORKING_DIR": ".",
        "PIP_CONFIG_FILE": "pip.conf", "PIP_FIND_LINKS": "wheels https://example.org/w", "UV_FIND_LINKS": "wheels,/w",
    }  # fmt: skip
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    command = Command(argv=(*isolated(), "-c", code), environment=tool_environment(os.environ))
    seen = SystemRunner().run(command)
    variables = json.loads(seen.text)
    bent = {name for name in variables if name.startswith("PYTHON")}
    assert bent == {"PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE"}
    assert not {"UV_PROJECT", "UV_WORKING_DIR"} & variables.keys()
    assert variables["PIP_CONFIG_FILE"] == str(here / "pip.conf")
    assert variables["PIP_FIND_LINKS"] == f"{here}/wheels https://example.org/w"
    assert variables["UV_FIND_LINKS"] == f"{here}/wheels,/w"


def test_only_what_is_absolute_stays() -> None:
    assert absolute_entries(":/a::b:/c d:") == "/a:/c d"
    assert absolute_entries("") == ""


@as_root
def test_a_folder_of_a_strangers_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch, "_made", {})
    os.chown(tmp_path, STRANGER, STRANGER)
    folder = scratch.run_folder()
    assert folder is not None
    assert folder.parent != tmp_path
    scratch.remove()
