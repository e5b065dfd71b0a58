"""What the shell sees: exit codes, errors as words or as one document, and quiet where nobody reads."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from flash_doctor.cli import errors
from flash_doctor.cli.app import COMMANDS
from flash_doctor.cli.errors import error_text, exit_code, run, wants_json, write_file
from flash_doctor.errors import BadInput, CommandFailed, NoPlanFound
from flash_doctor.model import Report, Severity, Unchecked
from flash_doctor.system.redact import redact
from patients import blind, broken, finding, healthy, report, warned
from shipped import validator


def doctor(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flash_doctor", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=60,
    )


def validate(text: str, schema: str) -> None:
    validator(schema).validate(json.loads(text))


# -- exit codes


PARTLY = report(unchecked=(Unchecked(code="D001", why="no NVML"),))
NOTED = report(finding("H002", Severity.INFO, "host"))


@pytest.mark.parametrize(
    ("value", "plain", "strict", "warning", "both"),
    [
        (healthy(), 0, 0, 0, 0),
        (NOTED, 0, 0, 0, 0),
        (warned(), 0, 0, 1, 1),
        (PARTLY, 0, 6, 0, 6),
        (broken(), 1, 1, 1, 1),
        (blind(), 6, 6, 6, 6),
    ],
    ids=["healthy", "a note", "warnings", "partly unchecked", "broken and partly unchecked", "blind"],
)
def test_the_exit_code_of_a_report(value: Report, plain: int, strict: int, warning: int, both: int) -> None:
    options = itertools.product([Severity.ERROR, Severity.WARNING], [False, True])
    codes = [exit_code(value, strict=strict, fail_on=fail_on) for fail_on, strict in options]
    assert codes == [plain, strict, warning, both]


# -- errors


def fail(error: BaseException) -> int:
    def command() -> NoReturn:
        raise error

    return run(command, [])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("x"), 2),
        (NoPlanFound("x"), 3),
        (CommandFailed("x"), 6),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError(), 6),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_every_error_ends_in_words_and_its_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(error) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("flash-doctor: ")
    assert "Traceback" not in said.err


@pytest.mark.parametrize("error", [BadInput("x"), KeyboardInterrupt(), ZeroDivisionError("y")], ids=repr)
def test_with_json_an_error_is_one_document(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> NoReturn:
        raise error

    code = run(command, ["check", "--json"])
    said = capsys.readouterr()
    assert said.err == ""
    validate(said.out, "error")
    assert json.loads(said.out)["exit_code"] == code


def test_a_defect_shows_its_traceback_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLASH_DOCTOR_DEBUG", "1")
    assert fail(ZeroDivisionError("by nought")) == 6
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.delenv("FLASH_DOCTOR_DEBUG")
    fail(ZeroDivisionError("by nought"))
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "ZeroDivisionError: by nought" in said
    assert "FLASH_DOCTOR_DEBUG=1" in said


def test_an_error_says_what_how_we_know_and_what_next() -> None:
    error = BadInput("no such file", evidence=("looked in /x\x1b[2J",), advice="name another")
    assert error_text(error) == ("flash-doctor: error: no such file\n  - looked in /x\\x1b[2J\n  Next: name another\n")


@pytest.mark.parametrize(
    "order",
    [
        "::error file=a.py,line=1::{}",
        "      ::add-mask::{}",
        "::stop-commands::{}",
        "x ##[add-matcher]{}",
        "##vso[task.prependpath]{}",
        "a ##teamcity[buildStatus text='{}']",
    ],
)
def test_a_strangers_words_give_a_build_machine_no_order(order: str, capsys: pytest.CaptureFixture[str]) -> None:
    """GitHub, Azure and TeamCity read a job's output for commands."""
    told = order.format("words")
    for text in (told, f"one\n{told}\nthree"):
        errors.emit(redact(text))
        errors.say(redact(text))
        for shown in capsys.readouterr():
            assert "words" in shown
            assert not re.search(r"(?m)^\s*::|##\w*\[", shown)


@pytest.mark.parametrize(
    "text", ["::operator new(unsigned long)", "at::Tensor::", "## Summary", "c10::error::x", "::at::"]
)
def test_other_words_stay_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    errors.emit(redact(text))
    assert capsys.readouterr().out == text


def test_json_is_asked_for_by_an_option_only() -> None:
    assert wants_json(["check", "--json"])
    assert not wants_json(["run", "--", "tool", "--json"])


# -- files


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to(file)
    write_file(link, redact("new"))
    assert (file.read_text(), link.is_symlink()) == ("new", True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "report.json"]


def test_a_device_is_written_to_and_never_replaced() -> None:
    write_file(Path(os.devnull), redact("text"))
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("path", ["missing/report.json", "."], ids=["no folder", "a folder"])
def test_a_file_that_cannot_be_written_is_told_in_words(tmp_path: Path, path: str) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        write_file(tmp_path / path, redact("text"))


# -- the program


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_on_everything(command: str, flag: str) -> None:
    done = doctor(*filter(None, [command]), flag)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: flash-doctor {command}".rstrip())
    assert done.stderr == ""


def test_the_help_names_every_command_and_exit_code() -> None:
    from flash_doctor.errors import EXIT_CODES

    words = " ".join(doctor("--help").stdout.split())
    assert all(f"{code} {meaning}" in words for code, meaning in EXIT_CODES.items())
    assert all(command in words for command in COMMANDS)


def test_version() -> None:
    from flash_doctor import __version__

    assert doctor("--version").stdout == f"flash-doctor {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["chek"], ["check", "--bogus"], ["check", "--fail-on", "info"], ["explain", "T501", "more"], []],
    ids=str,
)
def test_usage_errors_are_2_in_text_and_in_json(arguments: list[str]) -> None:
    text, document = doctor(*arguments), doctor(*arguments, "--json")
    assert (text.returncode, text.stdout, document.returncode, document.stderr) == (2, "", 2, "")
    assert "Usage: flash-doctor" in text.stderr
    validate(document.stdout, "error")


def test_a_reader_that_goes_away_is_no_error() -> None:
    """A pipe whose reading end is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "flash_doctor", "explain", "--list"], stdout=writing, stderr=subprocess.PIPE, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_a_full_disk_is_told_in_words(options: list[str]) -> None:
    command = [sys.executable, "-m", "flash_doctor", "explain", "--list", *options]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("flash-doctor: error: the output could not be written\n  - [Errno 28]")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["explain", "--list"], ["explain", "X"], ["explain", "X", "--json"]], ids=str)
def test_closed_streams_are_no_error(arguments: list[str]) -> None:
    shell = 'exec "$@" >&- 2>&-'
    done = subprocess.run(["sh", "-c", shell, "sh", sys.executable, "-m", "flash_doctor", *arguments], timeout=60)
    assert done.returncode == (0 if "--list" in arguments else 2)


def test_a_terminal_without_these_letters_shows_something() -> None:
    done = doctor("explain", "\u017b001", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "\\u017b001" in done.stderr


@pytest.mark.parametrize("json_option", [[], ["--json"]], ids=["text", "json"])
def test_ctrl_c_ends_in_130(tmp_path: Path, json_option: list[str]) -> None:
    """A target that hangs, and the signal a terminal sends."""
    started = tmp_path / "started"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ntouch {started}\nexec sleep 30\n")
    python.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "flash_doctor", "check", "--python", str(python), *json_option],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(started, process)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    if json_option:
        assert json.loads(out)["exit_code"] == 130
    else:
        assert errors == "flash-doctor: interrupted\n"


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    import time

    deadline = time.monotonic() + 20
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
