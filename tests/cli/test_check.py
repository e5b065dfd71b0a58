"""`flash-doctor check` from the shell, on real virtual environments of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flash_doctor.cli.errors import exit_code
from flash_doctor.model import Severity, Unknown
from flash_doctor.render.document import load_report
from shipped import validator

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = validator("report")


def check(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flash_doctor", "check", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environ},
        timeout=60,
    )


def test_text_and_json_are_two_readings_of_one_report(venv: Path) -> None:
    text, document = check("--python", venv), check("--python", venv, "--json")
    SCHEMA.validate(json.loads(document.stdout))
    report = load_report(document.stdout)
    assert text.returncode == document.returncode == json.loads(document.stdout)["exit_code"] == exit_code(report)
    assert (text.stderr, document.stderr) == ("", "")
    words = "".join(text.stdout.split())
    for finding in report.findings:
        assert "".join(f"{finding.code} {finding.subject}: {finding.summary}".split()) in words
    assert f"\nTarget: {venv}/bin/python\n" in text.stdout
    assert f"{report.score.checked} of {report.score.applicable} checked" in text.stdout


@pytest.mark.parametrize("options", [["--strict"], ["--fail-on", "warning"], ["--strict", "--fail-on", "warning"]])
def test_the_options_of_the_exit_code(venv: Path, options: list[str]) -> None:
    done = check("--python", venv, "--json", *options)
    fail_on = Severity.WARNING if "warning" in options else Severity.ERROR
    assert done.returncode == exit_code(load_report(done.stdout), strict="--strict" in options, fail_on=fail_on)
    assert json.loads(done.stdout)["exit_code"] == done.returncode


def test_the_document_can_be_kept_beside_the_text(venv: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    done = check("--python", venv, "--output", file)
    assert "Score: " in done.stdout
    SCHEMA.validate(json.loads(file.read_text(encoding="utf-8")))
    assert load_report(file.read_text(encoding="utf-8")).target.python == venv / "bin" / "python"


def test_host_only_looks_at_no_python(venv: Path) -> None:
    done = check("--python", venv, "--host-only", "--json")
    report = load_report(done.stdout)
    assert isinstance(report.environment.python, Unknown)
    assert not isinstance(report.environment.host, Unknown)


def test_requirements_are_compared(venv: Path, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("numpy>=2\n")
    report = load_report(check("--python", venv, "-r", file, "--json").stdout)
    assert isinstance(report.environment.requirements, tuple)
    assert [line.name for line in report.environment.requirements] == ["numpy"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing", None),
        ("text", "not a program"),
        ("rubbish", "#!/bin/sh\necho rubbish\n"),
        ("silent", "#!/bin/sh\nexit 3\n"),
        ("crash", "#!/bin/sh\nkill -SEGV $$\n"),
    ],
)
def test_what_is_no_interpreter_is_told_in_words(tmp_path: Path, name: str, content: str | None) -> None:
    python = tmp_path / name
    if content is not None:
        python.write_text(content)
        python.chmod(0o755)
    text, document = check("--python", python), check("--python", python, "--json")
    assert text.returncode == document.returncode == 2
    assert text.stderr.startswith("flash-doctor: error: ")
    assert "Traceback" not in text.stderr
    assert "itself failed" not in text.stderr
    assert json.loads(document.stdout)["schema"] == "flash-doctor/error/1"


HOSTILE_REQUIREMENTS = (
    (
        "torch==2 8.0",
        'flash-attn>=2.5 ; python_version>="sha256.0"',
        "-e git+https://h/x#egg=y",
        "einops",
        "--extra--url.https://u:p@h//simple",
        "numpy<2 --=3:aa",
    ),
    ("numpy<2 --=3:aa",),
    ("./wheels -e",),
    ("https://h/a-1-py3-none-any.whl --hash", "-e"),
    ("-e=", "--pre=true"),
)


def test_a_requirements_file_with_a_fault_is_told_in_words(venv: Path, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("numpy>>2\n")
    done = check("--python", venv, "-r", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("lines", HOSTILE_REQUIREMENTS)
def test_a_requirements_file_that_pips_own_parser_ends_with(venv: Path, tmp_path: Path, lines: tuple[str, ...]) -> None:
    """pip-api's argparse printed its own usage and ended the process: no word of ours, no document."""
    file = tmp_path / "requirements.txt"
    file.write_text("\n".join(lines) + "\n")
    plain, document = check("--python", venv, "-r", file), check("--python", venv, "-r", file, "--json")
    assert (plain.returncode, document.returncode) == (2, 2)
    assert plain.stderr.startswith(f"flash-doctor: error: {file}, line ")
    assert "usage:" not in plain.stderr + document.stderr
    told = json.loads(document.stdout)
    assert (told["schema"], told["exit_code"]) == ("flash-doctor/error/1", 2)
    assert told["error"].startswith(f"{file}, line ")
    assert document.stderr == ""


def test_a_requirements_file_that_is_not_there(venv: Path) -> None:
    done = check("--python", venv, "-r", "/nowhere/requirements.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere/requirements.txt" in done.stderr


HEAVY = {"rich", "requests", "pip_api", "pydantic", "elftools", "psutil", "pygments", "torch"}
LIST = """
import sys
from flash_doctor.cli.app import main
main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(("options", "allowed"), [(["--json"], set()), ([], {"rich"})], ids=["json", "text"])
def test_nothing_heavy_is_imported_where_it_is_not_needed(venv: Path, options: list[str], allowed: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIST, "check", "--python", str(venv), *options],
        capture_output=True,
        text=True,
        timeout=60,
    )
    modules = {module.partition(".")[0] for module in done.stderr.split()}
    assert "flash_doctor" in modules
    assert modules & HEAVY <= allowed
