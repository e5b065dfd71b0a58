"""Pythons whose start is disturbed, read through the real command: a finding names it, and the rest is read."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flash_doctor.model import Python, Report, Target
from flash_doctor.probe.start import Inquiry, complaints
from flash_doctor.probe.target_script import Manner, start_script
from flash_doctor.render.document import load_report
from flash_doctor.system.process import SystemRunner
from sites import install, site_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def patient(venv: Path) -> Path:
    install(
        site_of(venv), "torch", "2.8.0", files={"torch/__init__.py": "", "torch/version.py": "__version__='2.8.0'\n"}
    )
    return venv


def check(venv: Path, cwd: Path, **environ: str) -> Report:
    """As `scripts/doctor` starts it: isolated, the target's variables handed on."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "flash_doctor", "check", "--json", "--python", str(venv)],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, **environ}, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return load_report(done.stdout)


def told(report: Report, code: str) -> str:
    (finding,) = report.of(code)
    return " | ".join((finding.summary, *finding.evidence, *(finding.remedy.commands if finding.remedy else ())))


def test_pythonhome_leads_nowhere(patient: Path, tmp_path: Path) -> None:
    report = check(patient, tmp_path, PYTHONHOME="/nowhere")
    assert "PYTHONHOME is /nowhere" in told(report, "P412")
    assert "encodings" in told(report, "P412")
    assert "unset PYTHONHOME" in told(report, "P412")
    assert "2.8.0" in str(report.environment.torch), "the environment is read all the same"


def test_a_module_on_pythonpath_ends_every_start(patient: Path, tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('not a random generator')\n")
    (site_of(patient) / "early.pth").write_text("import random\n")
    report = check(patient, tmp_path, PYTHONPATH=str(tmp_path))
    assert f"{tmp_path / 'random.py'} hides" in told(report, "P412")
    assert "not a random generator" in told(report, "P412")


@pytest.mark.parametrize("name", ["sitecustomize.py", "usercustomize.py", "begin.pth"])
def test_a_start_up_file_ends_every_start(patient: Path, tmp_path: Path, name: str) -> None:
    (site_of(patient) / name).write_text("import os; os._exit(3)\n")
    (site_of(patient) / "more.pth").write_text(f"{tmp_path}\nimport more_of_it\n")
    configuration = patient / "pyvenv.cfg"  # usercustomize needs a user site
    configuration.write_text(configuration.read_text().replace("packages = false", "packages = true"))
    report = check(patient, tmp_path)
    assert "a start-up file ends or hangs it" in told(report, "P412")
    assert "exit code 3" in told(report, "P412")
    assert str(site_of(patient)) in told(report, "P412")
    assert isinstance(report.environment.python, Python)
    assert tmp_path in report.environment.python.search_path, "paths that .pth files add are kept"


def test_one_that_hangs_is_read_without_it(patient: Path) -> None:
    (site_of(patient) / "sitecustomize.py").write_text("import time; time.sleep(60)\n")
    target, runner = Target(python=patient / "bin" / "python", why="test"), SystemRunner()
    script = "import sys\ndef main(arguments):\n    return sys.prefix\n"
    slow = start_script(target, runner, script, timeout=0.3)
    answer, start = Inquiry(slow, lambda manner: start_script(target, runner, script, timeout=0.3 if manner is
        Manner.WITHOUT_VARIABLES else 20, manner=manner)).examine()  # fmt: skip
    assert answer.value == str(patient)
    assert start.bare
    assert "did not end within 0.3 seconds" in start.failure[0]


def test_a_start_up_file_that_fails_is_told_with_its_error(patient: Path, tmp_path: Path) -> None:
    (site_of(patient) / "sitecustomize.py").write_text("1 / 0\n")
    (site_of(patient) / "left-behind.pth").write_text("import package_that_was_removed\n")
    words = told(check(patient, tmp_path), "P413")
    assert f"{site_of(patient) / 'left-behind.pth'} (ModuleNotFoundError: No module named" in words
    assert "Error in sitecustomize (ZeroDivisionError: division by zero)" in words


def test_one_that_prints_is_told(patient: Path, tmp_path: Path) -> None:
    (site_of(patient) / "sitecustomize.py").write_text("print('welcome to the cluster')\n")
    assert "welcome to the cluster" in told(check(patient, tmp_path), "P413")
    (site_of(patient) / "sitecustomize.py").write_text("import sys; print('a hint', file=sys.stderr)\n")
    assert not check(patient, tmp_path).of("P413"), "a word on stderr disturbs nobody"


def test_other_words_on_stderr_are_no_complaints() -> None:
    assert complaints("warning: something\nTraceback (most recent call last):\nValueError: x\n") == ()
    assert complaints("Error processing line 3 of /v/a.pth:\n\n") == ("Error processing line 3 of /v/a.pth",)
