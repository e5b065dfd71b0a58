"""A script run in the target: what answers, what does not, and what must not get in its way."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flash_doctor.errors import TargetError
from flash_doctor.model import Target
from flash_doctor.probe.target_script import start_script
from flash_doctor.system.process import SystemRunner
from sites import site_of

ECHO = "def main(arguments):\n    return {'arguments': arguments}\n"
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"


def ask(python: Path, script: str = ECHO, *arguments: str, timeout: float = 20.0) -> Any:
    target = Target(python=python, why="test")
    return start_script(target, SystemRunner(), script, arguments, timeout=timeout).answer()


def program(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_the_answer_comes_back_as_it_was_given(venv: Path) -> None:
    assert ask(venv / "bin" / "python", ECHO, "a b", "ü") == {"arguments": ["a b", "ü"]}


def test_rubbish_of_sitecustomize_does_not_disturb(venv: Path) -> None:
    rubbish = "import sys, atexit\nprint('@@ answer {} @@')\natexit.register(print, 'bye')\nsys.stdout.write('{')\n"
    (site_of(venv) / "sitecustomize.py").write_text(rubbish)
    assert ask(venv / "bin" / "python") == {"arguments": []}


def test_a_large_answer_is_whole(venv: Path) -> None:
    script = "def main(arguments):\n    return ['x' * 1000] * 3000\n"
    assert ask(venv / "bin" / "python", script) == ["x" * 1000] * 3000


def test_modules_named_like_the_standard_librarys_are_not_run(
    venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        (folder / "json.py").write_text("raise SystemExit('the wrong json')\n")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "there"))
    path = ask(venv / "bin" / "python", "import sys\ndef main(arguments):\n    return sys.path\n")
    assert path[0] == str(tmp_path / "there")
    assert "" not in path


def test_nothing_is_written_into_the_environment(venv: Path) -> None:
    (site_of(venv) / "sitecustomize.py").write_text("import helper_of_the_site\n")
    (site_of(venv) / "helper_of_the_site.py").write_text("")
    assert ask(venv / "bin" / "python") == {"arguments": []}
    assert not list(site_of(venv).rglob("*.pyc"))


@pytest.mark.parametrize(
    ("body", "says", "evidence"),
    [
        ("echo hello; exit 0", "is not a working Python interpreter", "hello"),
        ("echo no codec >&2; exit 1", "is not a working Python interpreter", "no codec"),
        ("head -c 3000000 /dev/urandom", "is not a working Python interpreter", "exit code 0"),
        (r"printf '\n@@%s python pypy 3.10.14\n' $3", "is PyPy 3.10.14; torch", None),
        (r"printf '\n@@%s python cpython 2.7.18\n' $3", "is Python 2.7.18; torch", None),
        (r"printf '\n@@%s python cpython 3.6.15\n' $3", "need CPython 3.7 or newer", None),
        (r"printf '\n@@%s python cpython 3.12.1\n' $3; kill -9 $$", "ended before it answered", "exit code -9"),
    ],
)
def test_what_is_no_suitable_python_is_told(body: str, says: str, evidence: str | None, tmp_path: Path) -> None:
    with pytest.raises(TargetError) as caught:
        ask(program(tmp_path, body))
    assert says in caught.value.message
    assert evidence is None or any(evidence in line for line in caught.value.evidence)


def test_one_that_hangs_is_left_at_its_time(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(TargetError, match=r"did not end within 0\.3 seconds"):
        ask(program(tmp_path, "sleep 60"), timeout=0.3)
    assert time.monotonic() - begun < 10


def test_a_file_of_another_format_is_told(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(b"\x00\x01\x02")
    path.chmod(0o755)
    with pytest.raises(TargetError, match="is not a Python interpreter"):
        ask(path)


def test_a_failing_script_is_told_with_its_last_lines(venv: Path) -> None:
    with pytest.raises(TargetError, match="before it answered") as caught:
        ask(venv / "bin" / "python", "def main(arguments):\n    raise RuntimeError('the reason')\n")
    assert any("the reason" in line for line in caught.value.evidence)


@pytest.mark.parametrize(("version", "says"), [("2.7", "is Python 2.7"), ("3.6", "is Python 3.6")])
def test_real_old_pythons_say_who_they_are(version: str, says: str) -> None:
    found = sorted(PYENV.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    with pytest.raises(TargetError, match=says):
        ask(found[0])


@pytest.mark.parametrize("version", ["3.7", "3.8", "3.9", "3.10", "3.12", "3.13"])
def test_other_pythons_of_this_machine_answer(version: str) -> None:
    found = sorted(PYENV.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    answer = ask(found[0], "import sys\ndef main(arguments):\n    return list(sys.version_info[:2])\n")
    assert answer == [int(part) for part in version.split(".")]


def test_this_python_answers() -> None:
    assert ask(Path(sys.executable)) == {"arguments": []}
