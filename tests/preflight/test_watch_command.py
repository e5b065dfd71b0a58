"""`flash-doctor watch` from the shell: real files and processes, a real small disk, Ctrl-C and closed pipes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY, INTERRUPTED, USAGE
from shipped import validator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DATA = Path(__file__).parents[1] / "data" / "watch"
SCHEMA = validator("watch")
WATCH = [sys.executable, "-m", "flash_doctor", "watch"]
# a training: logs a line each 30 ms with the loss that it was told last on stdin
TRAINING = """
import sys, threading, time
told = []
threading.Thread(target=lambda: told.extend(map(str.strip, iter(sys.stdin.readline, ""))), daemon=True).start()
for step in range(2000):
    loss = told[-1] if told else 2.0 - step / 1000
    print({"loss": loss, "grad_norm": 1.0, "learning_rate": 1e-4, "epoch": step / 100}, flush=True)
    time.sleep(0.03)
"""


def watch(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WATCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environ},
        timeout=60,
    )


def documents(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for document in found:
        SCHEMA.validate(document)
    assert all(document["exit_code"] is None for document in found[:-1])
    return found


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


DISK = r"disk \d+% used, [\d.]+ [kMGT]?B free"


def test_text_and_json_are_two_readings_of_the_same_events() -> None:
    text, document = watch(DATA / "nan.log", "--once"), watch(DATA / "nan.log", "--once", "--json")
    lines, events = text.stdout.splitlines(), documents(document.stdout)
    assert text.returncode == document.returncode == events[-1]["exit_code"] == BROKEN
    assert (text.stderr, document.stderr) == ("", "")
    assert len(lines) == len(events) == 3
    for line, event in zip(lines, events, strict=True):
        told = f"{event['finding']['code']} {event['finding']['subject']} {event['finding']['summary']}"
        # the disk of the machine that runs the tests changes between the two runs
        assert re.sub(DISK, "disk", told) in re.sub(DISK, "disk", line)
        assert all(evidence in line for evidence in event["finding"]["evidence"])
    assert "error   step 20 epoch 0.42 W-nan grad_norm is NaN while the loss is shown as 0.0" in lines[1]
    assert ". Next: stop; start again from the last checkpoint" in lines[1]


def test_a_healthy_run_that_has_ended_ends_the_watch() -> None:
    done = watch(DATA / "healthy.log", "--every", "0.1", "--json")
    events = documents(done.stdout)
    assert [event["moment"] for event in events] == ["started", "ended"]
    assert "ended with its final metrics" in events[-1]["finding"]["summary"]
    assert done.returncode == HEALTHY


@contextmanager
def training(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes its log; the file is open in no other."""
    with path.open("w") as log:
        command = [sys.executable, "-c", TRAINING]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """What it prints up to the line with that word."""
    assert process.stdout is not None
    text = ""
    while word not in text:
        line = process.stdout.readline()
        assert line, text
        text += line
    return text


def test_a_real_process_is_followed_until_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    with training(path) as run, started([*WATCH, str(path), "--every", "0.1", "--json"]) as process:
        text = read_until(process, "W-started")
        tell(run, "nan\n")
        text += read_until(process, "W-nan")
        tell(run, "0.0\n")
        text += read_until(process, "W-loss-zero")
        run.kill()
        rest, errors = process.communicate(timeout=60)
    *_, nan, zero, end = documents(text + rest)
    assert [event["finding"]["code"] for event in (nan, zero, end)] == ["W-nan", "W-loss-zero", "W-ended"]
    assert "gone without final metrics" in end["finding"]["summary"]
    assert (process.returncode, errors) == (BROKEN, "")


def test_until_red_ends_while_the_training_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    with training(path) as run:
        tell(run, "nan\n")
        done = watch(path, "--every", "0.1", "--until-red")
        assert run.poll() is None, "the training is left alone"
    assert done.returncode == BROKEN
    assert "ended at the first error" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_ends_with_a_last_line(tmp_path: Path, as_json: bool) -> None:
    path = tmp_path / "train.log"
    shutil.copy(DATA / "healthy.log", path)
    path.write_bytes(path.read_bytes()[:4000])
    with started([*WATCH, str(path), *(["--json"] if as_json else [])]) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == INTERRUPTED
    assert errors == ""
    assert len((first + rest).splitlines()) == 2
    assert "stopped; 0 errors" in rest
    if as_json:
        assert documents(first + rest)[-1]["exit_code"] == INTERRUPTED


def test_it_stays_behind_never_when_its_reader_goes(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("{'loss': 1.0, 'epoch': 0.1}\n")
    with started([*WATCH, str(path), "--every", "0.1"]) as process:
        assert process.stdout is not None
        read_until(process, "W-started")
        process.stdout.close()
        assert process.wait(60) in (HEALTHY, COULD_NOT_LOOK), "by whether it had read anything before"


def test_a_real_disk_that_fills(tmp_path: Path) -> None:
    """In a mount namespace of our own: the disk is a tmpfs of 4 MB, filled while it is watched."""
    log = tmp_path / "events"
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"""
        mount -t tmpfs -o size=4m none {disk} || exit 77
        head -c 4000 {DATA}/healthy.log > {disk}/train.log
        {sys.executable} -m flash_doctor watch {disk} --every 0.1 --until-red --json > {log} &
        until grep -q W-started {log}; do sleep 0.05; done
        head -c 2600000 /dev/zero > {disk}/a
        until grep -q yellow {log}; do sleep 0.05; done
        head -c 1000000 /dev/zero > {disk}/b
        wait $!
    """
    if not shutil.which("unshare"):
        pytest.skip("no unshare here")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    if not log.exists():
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()[-100:]}")
    events = documents(log.read_text())
    assert [event["finding"]["severity"] for event in events] == ["info", "warning", "error", "info"], done.stderr
    assert {event["finding"]["code"] for event in events[1:3]} == {"W-disk"}
    assert "full in" in events[2]["finding"]["summary"]
    assert done.returncode == BROKEN


def test_no_metrics_is_not_healthy(tmp_path: Path) -> None:
    assert watch(tmp_path, "--once").returncode == COULD_NOT_LOOK
    done = watch(tmp_path / "nothing.log", "--every", "0.1", "--idle", "0.3")
    assert done.returncode == COULD_NOT_LOOK
    assert "no metrics of a training were found" in done.stdout


def test_a_rank_s_name_cannot_move_the_cursor(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b'{"loss": NaN, "note": "\\u001b[2J\\u202e"}\n')
    assert watch(path, "--once").stdout.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.log", "--once"], "nowhere.log does not exist"),
        (["/dev/null", "--once"], "neither a folder nor a regular file"),
        ([".", "--every", "0"], "--every: '0' must be seconds"),
        ([".", "--every", "soon"], "--every: 'soon' must be seconds"),
        ([".", "--max-disk", "120%"], "--max-disk: '120%'"),
        ([".", "--max-disk", "0"], "--max-disk: '0'"),
        ([".", "--idle", "-1"], "--idle: '-1' must be seconds"),
    ],
)
def test_bad_input(arguments: list[str], words: str) -> None:
    done = watch(*arguments)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert words in done.stderr
    assert "Next: " in done.stderr
