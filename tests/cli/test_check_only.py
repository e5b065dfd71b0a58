"""`flash-doctor check --only FAMILY,…`: what is asked for is checked and said, and the rest is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import ward

from flash_doctor.diagnose import chosen_checks, diagnose
from flash_doctor.facts import Facts
from flash_doctor.model import Family
from flash_doctor.render.document import load_report, report_document, to_json
from shipped import validator

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = validator("report")
CODES = {family: {check.code for check in chosen_checks(only=(family,))} for family in Family}
NAMES = "host, driver, gpu, python, torch, flash-attn, compiled-extensions, companions, libraries, build"
SICK = ("flash-built-for-newer-torch", "tesla-t4", "nvml-hangs", "deepspeed-nvcc-13", "driver-packages-in-image")
# leaves a file behind when somebody loads it
NOTICING = r"""
#include <fcntl.h>
#include <stdlib.h>
__attribute__((constructor)) static void noticed(void) { open(getenv("NOTICED"), O_CREAT | O_WRONLY, 0600); }
"""


def check(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flash_doctor", "check", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **environ},
        timeout=60,
    )


@pytest.fixture
def recorded(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The report of a recorded machine, of all families."""
    patient = ward.patient(request.param)
    file = tmp_path / "report.json"
    file.write_text(to_json(report_document(diagnose(patient.target, patient.environment, Facts()), 0)))
    return file


@pytest.mark.parametrize("recorded", SICK, indirect=True)
def test_each_family_alone_is_its_part_of_the_whole_report(recorded: Path) -> None:
    whole = load_report(recorded.read_text())
    seen = set()
    for family in Family:
        report = diagnose(whole.target, whole.environment, Facts(), only=(family,))
        assert report.only == (family,)
        assert report.findings == tuple(finding for finding in whole.findings if finding.code in CODES[family])
        assert report.unchecked == tuple(entry for entry in whole.unchecked if entry.code in CODES[family])
        assert report.score.applicable <= len(CODES[family])
        seen |= {finding.code for finding in report.findings}
    assert seen == {finding.code for finding in whole.findings} != set()


@pytest.mark.parametrize("recorded", ["flash-built-for-newer-torch"], indirect=True)
@pytest.mark.parametrize(
    ("asked", "only", "code"),
    [
        (["--only", "flash-attn"], ["flash-attn"], 0),
        (["--only", "gpu,driver"], ["driver", "gpu"], 0),
        (["--only", " GPU , Driver,driver,"], ["driver", "gpu"], 0),
        (["--only", "gpu", "--only", "driver"], ["driver", "gpu"], 0),
        (["--only", "Compiled Extensions"], ["compiled extensions"], 1),
        (["--only", "compiled_extensions"], ["compiled extensions"], 1),
    ],
)
def test_the_document_names_what_was_asked_for(recorded: Path, asked: list[str], only: list[str], code: int) -> None:
    done = check("--for", recorded, *asked, "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    SCHEMA.validate(document)
    assert document["only"] == only
    assert document["exit_code"] == done.returncode
    assert done.returncode == code
    assert [family.value for family in load_report(done.stdout).only] == only


@pytest.mark.parametrize("recorded", ["flash-built-for-newer-torch"], indirect=True)
def test_the_text_says_what_was_asked_for(recorded: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    sound = check("--for", recorded, "--only", "driver,gpu", "--output", kept)
    assert sound.stdout.startswith("No problem found in what was looked at. Asked for: driver, gpu only.\n")
    assert "torch" not in sound.stdout.partition("Score")[0]
    broken = check("--for", recorded, "--only", "compiled-extensions")
    assert broken.stdout.startswith("BROKEN at flash-attn: 1 error. Asked for: compiled extensions only.\n\n1 error\n")
    # a report of some families stays one, also where it is judged again
    assert check("--for", kept).stdout == sound.stdout
    assert "Asked for" not in check("--for", recorded).stdout.partition("\n")[0]


@pytest.mark.parametrize("given", ["hosts", "driver,gpus", "", " , ", "all", "driver;gpu", "D203", "driver.gpu"])
def test_what_is_no_family_is_refused_and_the_families_are_named(given: str) -> None:
    text, document = check("--only", given), check("--only", given, "--json")
    assert text.returncode == document.returncode == 2
    assert text.stdout == ""
    assert NAMES in text.stderr
    assert NAMES in json.loads(document.stdout)["advice"]


def test_nothing_checked_is_not_healthy() -> None:
    """Python cannot be looked at without a Python."""
    done = check("--only", "python", "--host-only", "--json")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (6, "unknown")
    assert check("--only", "torch,python", "--host-only").stdout.startswith("UNKNOWN: nothing could be checked")


@pytest.mark.parametrize("recorded", ["nvml-hangs"], indirect=True)
def test_strict_asks_only_for_those_families(recorded: Path) -> None:
    assert check("--for", recorded, "--only", "host", "--strict").returncode == 0
    assert check("--for", recorded, "--only", "gpu").returncode == 0
    assert check("--for", recorded, "--only", "gpu", "--strict").returncode == 6
    assert check("--for", recorded, "--only", "driver", "--strict").returncode == 1


@pytest.mark.parametrize("option", ["-r", "--stack"])
def test_a_comparison_that_nobody_would_make_is_refused(option: str, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("numpy\n")
    done = check("--only", "driver,gpu", option, file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "companions" in done.stderr


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter that leaves a file `started` beside it, and says nothing."""
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n: > {tmp_path}/started\nexit 3\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(("only", "started"), [("host", False), ("python", True), ("build", True), ("driver", True)])
def test_the_python_is_asked_where_a_check_needs_it(python: Path, tmp_path: Path, only: str, started: bool) -> None:
    done = check("--only", only, "--python", python, "--json")
    assert (tmp_path / "started").exists() is started
    assert done.returncode == (2 if started else 0)


def test_the_disk_of_the_environment_belongs_to_the_host(python: Path, tmp_path: Path) -> None:
    report = json.loads(check("--only", "host", "--python", python, "--json").stdout)
    assert report["environment"]["host"]["target_disk"]["path"] == str(tmp_path)
    assert report["environment"]["torch"] == {"unknown": "not looked at: --only host"}


@pytest.mark.parametrize(("only", "noticed"), [("host,python", False), ("gpu", True), ("driver,host", True)])
def test_the_driver_is_asked_where_a_check_needs_it(tmp_path: Path, venv: Path, only: str, noticed: bool) -> None:
    source, file = tmp_path / "noticing.c", tmp_path / "noticed"
    source.write_text(NOTICING)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libnvidia-ml.so.1", source], check=True)
    check("--only", only, "--python", venv, LD_LIBRARY_PATH=str(tmp_path), NOTICED=str(file))
    assert file.exists() is noticed
