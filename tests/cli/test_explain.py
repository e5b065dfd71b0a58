"""`flash-doctor explain` and `flash-doctor run` from the shell."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from shipped import validator

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = validator("explanation")
GLIBC = "ImportError: /lib64/libc.so.6: version `GLIBC_2.32' not found (required by /x/flash_attn_2_cuda.so)\n"
UNKNOWN = "FrobnicationError: the gizmo is unhappy\n"
DOCTOR = [sys.executable, "-m", "flash_doctor"]


def doctor(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DOCTOR, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=60,
        env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip


def test_a_log_a_pipe_and_json_say_the_same(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(GLIBC)
    file, pipe, document = doctor("explain", log), doctor("explain", "-", text=GLIBC), doctor("explain", log, "--json")
    assert file.stdout == pipe.stdout
    assert (file.returncode, file.stderr, document.returncode) == (0, "", 0)
    data = json.loads(document.stdout)
    SCHEMA.validate(data)
    assert [item["family"] for item in data["explanations"]] == ["glibc-too-old"]
    assert "Run next: flash-doctor fix" in file.stdout


def test_the_exit_code_of_strict() -> None:
    assert doctor("explain", "-", "--strict", text=UNKNOWN).returncode == 6
    assert doctor("explain", "-", text=UNKNOWN).returncode == 0
    assert doctor("explain", "-", "--strict", text=GLIBC).returncode == 0
    assert "Look at these first" in doctor("explain", "-", text=UNKNOWN).stdout


def test_codes_of_checks_and_of_complaints() -> None:
    assert doctor("explain", "glibc-too-old").stdout.startswith("glibc-too-old (")
    assert doctor("explain", "T501").stdout.startswith("T501 (")
    SCHEMA.validate(json.loads(doctor("explain", "glibc-too-old", "--json").stdout))


@pytest.mark.parametrize("subject", ["no/such.log", "/tmp", "X999"])
def test_what_cannot_be_explained_is_a_usage_error(subject: str) -> None:
    done = doctor("explain", subject)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Next:" in done.stderr


def test_a_report_is_compared(tmp_path: Path, venv: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text("{}")
    assert doctor("explain", "-", "--for", report, text=GLIBC).returncode == 2
    report.write_text(doctor("check", "--python", venv, "--json").stdout)
    text = "ModuleNotFoundError: No module named 'torch'\n  File '/tmp/pip-build-env-x/setup.py', line 9\n"
    alone, joined = doctor("explain", "-", text=text), doctor("explain", "-", "--for", report, text=text)
    assert "build-isolation (likely)" in alone.stdout
    assert "build-isolation (possible)" in joined.stdout
    assert "torch is not installed in this environment" in " ".join(joined.stdout.split())
    assert doctor("explain", "-", "--for", report, "--python", venv, text=text).returncode == 2


def test_run_passes_everything_through() -> None:
    code = "import sys; print('out'); print(input()); print('err', file=sys.stderr); sys.exit(7)"
    done = doctor("run", "--", sys.executable, "-c", code, text="from stdin\n")
    assert (done.returncode, done.stdout) == (7, "out\nfrom stdin\n")
    assert done.stderr.startswith("err\n")
    assert "the command failed" in done.stderr


def test_run_says_nothing_about_success_and_needs_no_dashes() -> None:
    done = doctor("run", sys.executable, "-c", "print('--lr 1')", "--lr", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "--lr 1\n", "")


def test_run_explains_on_stderr_and_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "why.json"
    code = f"import sys; sys.stderr.write({GLIBC!r}); sys.exit(1)"
    done = doctor("run", "--output", file, "--", sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (1, "")
    assert "glibc-too-old" in done.stderr
    data = json.loads(file.read_text())
    SCHEMA.validate(data)
    assert data["exit_code"] == 1


def test_run_ends_as_a_shell_would() -> None:
    assert doctor("run", "--", "/no/such/program").returncode == 127
    assert doctor("run", "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)").returncode == 137
    assert doctor("run").returncode == 2


def test_run_hands_signals_on() -> None:
    code = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(5)); print('up', flush=True); time.sleep(30)"
    )
    process = subprocess.Popen(
        [*DOCTOR, "run", "--", sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 5


def test_run_shows_the_command_a_terminal_where_there_is_one() -> None:
    ours, theirs = pty.openpty()
    code = "import sys; print(sys.stdout.isatty(), sys.stderr.isatty())"
    process = subprocess.Popen(
        [*DOCTOR, "run", "--", sys.executable, "-c", code], stdout=theirs, stderr=subprocess.PIPE
    )
    os.close(theirs)
    process.communicate(timeout=30)
    time.sleep(0.05)
    assert os.read(ours, 1000).split() == [b"True", b"False"]
    os.close(ours)


def test_run_keeps_a_bounded_tail() -> None:
    code = f"import sys; sys.stdout.write('noise ' * 1000000); sys.stderr.write('\\n' + {GLIBC!r}); sys.exit(1)"
    done = doctor("run", "--", sys.executable, "-c", code)
    assert len(done.stdout) == 6_000_000
    assert "glibc-too-old" in done.stderr
