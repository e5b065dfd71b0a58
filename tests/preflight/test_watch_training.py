"""Real training runs (transformers' Trainer on a tiny random Llama, on the CPU) that are watched while they run."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import CACHE
from flash_doctor.errors import BROKEN, HEALTHY
from flash_doctor.preflight.watch.trainer_files import ARGUMENTS, read_settings, read_state

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.torch, pytest.mark.index]

PACKAGES = ("transformers==4.57.1", "accelerate==1.13.0")
SCRIPT = Path(__file__).with_name("tiny_training.py")
INTERVAL = 0.2  # seconds between two looks


@pytest.fixture(scope="session")
def training_python(torch_venv: Path) -> Path:
    """An interpreter with transformers beside the torch of `torch_venv`, made once and kept; 35 s the first time."""
    folder = CACHE / f"{'-'.join(PACKAGES)}-cp{sys.version_info.major}{sys.version_info.minor}"
    with (CACHE / "lock-training").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _make(folder, torch_venv)
    return folder / "bin" / "python"


def _make(folder: Path, torch_venv: Path) -> None:
    """A path file brings the modules of the other venv, and pip finds torch there."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    site, torch_site = (next(venv.glob("lib/python3*/site-packages")) for venv in (folder, torch_venv))
    (site / "torch_venv.pth").write_text(f"{torch_site}\n")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *PACKAGES], check=True, timeout=600)
    (folder / "ready").touch()


@contextmanager
def training(python: Path, folder: Path, log: Path, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as output:
        command = [str(python), str(SCRIPT), str(folder), json.dumps(settings)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    with process:
        try:
            yield process
        finally:
            process.kill()


def watch(*paths: Path, options: tuple[str, ...] = ()) -> tuple[list[dict[str, Any]], int]:
    """The events between the first and the last, and the exit code."""
    command = [sys.executable, "-m", "flash_doctor", "watch", *map(str, paths), "--json", "--every", str(INTERVAL)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert (events[0]["moment"], events[-1]["moment"]) == ("started", "ended")
    return events[1:-1], done.returncode


def codes(events: list[dict[str, Any]]) -> list[str]:
    return [event["finding"]["code"] for event in events]


def test_a_healthy_training_is_followed_to_its_end(training_python: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "out", tmp_path / "train.log"
    with training(training_python, folder, log, eval_strategy="steps", eval_steps=20) as process:
        assert watch(folder, log) == ([], HEALTHY)
        assert process.wait(60) == 0
    state = read_state(folder / "trainer_state.json")
    assert (state.step, state.max_steps, state.save_steps) == (50, 50, 10)
    assert len([record for record in state.history if "loss" in record.metrics]) == 50
    assert state.history[-1].is_final
    settings = read_settings(folder / "checkpoint-50" / ARGUMENTS)
    assert settings.whole("save_total_limit") == 2
    assert settings.evaluates
    assert watch(folder, options=("--once",)) == ([], HEALTHY)


def test_nan_that_the_trainer_hides_is_told_within_an_interval(training_python: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "out", tmp_path / "train.log"
    with training(training_python, folder, log, poison=20, pause=0.2, save_strategy="no") as process:
        events, exit_code = watch(log, options=("--until-red",))
        assert process.poll() is None, "the training still runs"
        shown = [line for line in log.read_text().splitlines() if "{'loss'" in line]
    assert codes(events) == ["W-nan"]
    assert "while the loss is shown as 0.0" in events[0]["finding"]["summary"]
    assert exit_code == BROKEN
    assert len(shown) <= 21 + 15, "within one interval, and the time that processes take to start and to end"


@pytest.mark.parametrize(("settings", "code"), [({"jolt": 30}, "W-loss-spike"), ({"learning_rate": 1e38}, "W-nan")])
def test_a_training_that_diverges(training_python: Path, tmp_path: Path, settings: dict[str, Any], code: str) -> None:
    folder, log = tmp_path / "out", tmp_path / "train.log"
    constant = {"lr_scheduler_type": "constant", "warmup_steps": 0, "save_strategy": "no"}
    with training(training_python, folder, log, **constant, **settings):
        events, _ = watch(folder, log)
    assert code in codes(events)


def test_the_state_of_a_checkpoint_alone_tells_it(training_python: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "out", tmp_path / "train.log"
    with training(training_python, folder, log, poison=25) as process:
        process.wait(60)
    log.unlink()
    events, exit_code = watch(folder, options=("--once",))
    assert [(event["finding"]["code"], event["step"]) for event in events] == [("W-nan", 26)]
    assert exit_code == BROKEN


def test_checkpoints_fill_a_small_disk(training_python: Path, tmp_path: Path) -> None:
    """A tmpfs of 3 MB in a mount namespace of our own; a checkpoint takes about 0.4 MB, and none is deleted."""
    disk, log, events_file = tmp_path / "disk", tmp_path / "train.log", tmp_path / "events"
    disk.mkdir()
    settings = json.dumps({"save_steps": 5, "save_total_limit": None, "pause": 0.1})
    script = f"""
        mount -t tmpfs -o size=3m none {disk} || exit 77
        {training_python} {SCRIPT} {disk}/out '{settings}' > {log} 2>&1 &
        {sys.executable} -m flash_doctor watch {disk} {disk}/out --every {INTERVAL} --json --until-red > {events_file}
        code=$?; kill $!; exit $code
    """
    if not shutil.which("unshare"):
        pytest.skip("no unshare here")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    if done.returncode == 77 or not events_file.exists():
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()[-100:]}")
    events = [json.loads(line) for line in events_file.read_text().splitlines()]
    assert done.returncode == BROKEN, done.stderr
    assert {"W-disk", "W-disk-eta"} & set(codes(events))
