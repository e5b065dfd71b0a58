"""Which interpreter is the patient, and what a place that is none is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flash_doctor.errors import USAGE, TargetError
from flash_doctor.probe.target import find_target


def test_a_given_folder_or_file_is_taken(venv: Path, tmp_path: Path) -> None:
    for given in (venv, venv / "bin" / "python"):
        target = find_target(str(given), {"VIRTUAL_ENV": "/nowhere"}, tmp_path)
        assert target.python == venv / "bin" / "python"
        assert target.why == f"--python {given}"


def test_the_link_of_a_venv_is_kept(venv: Path) -> None:
    assert (venv / "bin" / "python").is_symlink()
    assert find_target(str(venv), {}).python.is_symlink()


def test_a_bare_name_is_looked_up_on_path(venv: Path) -> None:
    target = find_target("python3", {"PATH": str(venv / "bin")})
    assert target.python == venv / "bin" / "python3"


def test_a_relative_place_becomes_absolute(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(venv.parent)
    assert find_target("venv", {}).python == venv / "bin" / "python"


def test_the_active_venv_comes_before_the_local_one(venv: Path, tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    assert find_target(None, {"VIRTUAL_ENV": str(venv)}, tmp_path).python == venv / "bin" / "python"
    local = find_target(None, {}, tmp_path)
    assert local.python == tmp_path / ".venv" / "bin" / "python"
    assert local.why == f"there is a .venv in {tmp_path}"


def test_the_running_python_is_last_and_conda_is_hinted_at(tmp_path: Path) -> None:
    target = find_target(None, {"CONDA_PREFIX": "/opt/conda"}, tmp_path, home=tmp_path)
    assert target.python == Path(sys.executable)
    assert "--python /opt/conda" in target.why


@pytest.mark.parametrize("mark", [".flash-doctor", ".flash-doctor-test", "pipx_metadata.json", "uv-receipt.toml"])
class TestTheDoctorsOwnEnvironment:
    @pytest.fixture
    def own(self, tmp_path: Path, mark: str) -> Path:
        """A checkout's .venv as scripts/doctor leaves it, or a tool's environment of pipx or uv."""
        own = tmp_path / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(own)], check=True)
        (own / mark).touch()
        return own

    def test_is_never_the_patient_unless_it_is_given(self, own: Path, venv: Path, tmp_path: Path) -> None:
        path = os.pathsep.join([str(own / "bin"), "", str(venv / "bin")])
        for environ in ({"PATH": path}, {"PATH": path, "VIRTUAL_ENV": str(own)}):
            target = find_target(None, environ, tmp_path, home=own)
            assert target.python == venv / "bin" / "python3"
            assert "outside of the doctor's own environment" in target.why
        assert find_target(str(own), {}, tmp_path, home=own).python == own / "bin" / "python"

    def test_is_known_by_whatever_path_leads_to_it(self, own: Path, venv: Path, tmp_path: Path) -> None:
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / ".venv").symlink_to(own)
        target = find_target(None, {"PATH": str(venv / "bin")}, tmp_path / "project", home=own)
        assert target.python == venv / "bin" / "python3"

    def test_another_one_is_examined_as_ever(self, own: Path, venv: Path, tmp_path: Path) -> None:
        assert find_target(None, {"VIRTUAL_ENV": str(venv)}, tmp_path, home=own).python == venv / "bin" / "python"
        assert find_target(None, {}, tmp_path, home=venv).python == own / "bin" / "python"

    def test_no_other_python_is_told(self, own: Path, tmp_path: Path) -> None:
        with pytest.raises(TargetError, match="no Python on PATH outside"):
            find_target(None, {"PATH": str(own / "bin")}, tmp_path, home=own)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("absent", "there is no such interpreter"),
        ("empty", "a folder without bin/python"),
        ("plain", "is not executable"),
        ("moved/bin/python", "is a link to /gone/python3.9, which is not there"),
    ],
)
def test_a_place_that_is_no_interpreter_is_told(place: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain").write_text("")
    (tmp_path / "moved" / "bin").mkdir(parents=True)
    (tmp_path / "moved" / "bin" / "python").symlink_to("/gone/python3.9")
    with pytest.raises(TargetError, match=says) as caught:
        find_target(str(tmp_path / place), {})
    assert caught.value.advice
    assert caught.value.exit_code == USAGE


@pytest.mark.parametrize("given", ["", "  "])
def test_an_empty_variable_is_not_passed_over(venv: Path, given: str) -> None:
    with pytest.raises(TargetError, match="--python is empty"):
        find_target(given, {"VIRTUAL_ENV": str(venv)})


def test_a_stale_virtual_env_is_told_and_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="there is no such interpreter"):
        find_target(None, {"VIRTUAL_ENV": str(tmp_path / "deleted")}, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_closed_folder_is_told(venv: Path) -> None:
    venv.chmod(0)
    try:
        with pytest.raises(TargetError, match="not readable"):
            find_target(str(venv), {})
    finally:
        venv.chmod(0o755)
