"""Real training runs (transformers' Trainer on a tiny random Llama, on the CPU): foreseen, then watched."""

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

from flash_doctor.errors import BROKEN, HEALTHY
from flash_doctor.watch.trainer_files import ARGUMENTS, read_settings, read_state
from kept import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.torch, pytest.mark.index]

PACKAGES = ("transformers==4.57.1", "accelerate==1.13.0")
SCRIPT = Path(__file__).with_name("tiny_training.py")
HIGH_RATE = ("PF-schedule", "warning")  # so small a model bears 1e-3, which a rule for real ones cannot know
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


VOCABULARY, LENGTH, ROWS = 64, 16, 200
SHAPE = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
HEALTHY_RUN: dict[str, Any] = {
    "max_steps": 50,
    "per_device_train_batch_size": 4,
    "logging_steps": 1,
    "save_steps": 10,
    "save_total_limit": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 5,
    "report_to": [],
    "use_cpu": True,
}


def configuration(folder: Path, **settings: Any) -> Path:
    """The file that describes a run into `folder`, with model and data beside it; rows count upwards."""
    home = folder.parent
    (home / "model").mkdir(parents=True, exist_ok=True)
    (home / "model" / "config.json").write_text(json.dumps(SHAPE))
    rows = (
        {"input_ids": [(number + at) % VOCABULARY for at in range(LENGTH)], "row": number} for number in range(ROWS)
    )
    (home / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    places = {"model_name_or_path": f"{home}/model", "train_file": f"{home}/rows.jsonl", "output_dir": str(folder)}
    config = home / "run.json"
    config.write_text(json.dumps({**places, **HEALTHY_RUN, **settings}, indent=1))
    return config


def preflight(python: Path, config: Path, *before: str) -> tuple[list[dict[str, Any]], int]:
    """The findings that are no notes, and the exit code; `before` is put before the command."""
    command = [*before, sys.executable, "-m", "flash_doctor", "preflight", str(config), "--python", str(python)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    found = json.loads(done.stdout)["findings"]
    return [finding for finding in found if finding["severity"] != "info"], done.returncode


@contextmanager
def training(python: Path, folder: Path, log: Path, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as output:
        command = [str(python), str(SCRIPT), str(configuration(folder, **settings))]
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


def errors(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [finding for finding in findings if finding["severity"] == "error"]


def codes(events: list[dict[str, Any]]) -> list[str]:
    return [event["finding"]["code"] for event in events]


def test_a_healthy_training_is_foreseen_and_followed_to_its_end(training_python: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "out", tmp_path / "train.log"
    foreseen, exit_code = preflight(training_python, configuration(folder, eval_strategy="steps", eval_steps=20))
    assert [(finding["code"], finding["severity"]) for finding in foreseen] == [HIGH_RATE]
    assert exit_code == HEALTHY
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


def test_nan_that_the_trainer_hides_is_told_at_its_first_log(training_python: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "out", tmp_path / "train.log"
    with training(training_python, folder, log, poison=20, pause=0.2, save_strategy="no") as process:
        events, exit_code = watch(log, options=("--until-red",))
        assert process.poll() is None, "the training still runs"
    assert codes(events) == ["W-nan"]
    assert "while the loss is shown as 0.0" in events[0]["finding"]["summary"]
    assert events[0]["step"] == 21, "the first log with it"
    assert exit_code == BROKEN


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


SICK: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "misspelt": ({"save_total_limits": 2}, "PF-hf-args", "save_total_limits", "save_total_limits"),
    "best": (
        {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 20, "save_steps": 30},
        "PF-hf-args",
        "load_best_model_at_end",
        "round multiple",
    ),
    "no data": ({"train_file": "row.jsonl"}, "PF-data-missing", "train_file", "No such file"),
}


@pytest.mark.parametrize("sick", SICK)
def test_what_the_trainer_dies_of_is_foreseen(training_python: Path, tmp_path: Path, sick: str) -> None:
    """Preflight names the key in a second; the training itself is started and dies of it."""
    settings, code, key, died_of = SICK[sick]
    folder, log = tmp_path / "out", tmp_path / "train.log"
    foreseen, exit_code = preflight(training_python, configuration(folder, **settings))
    assert [(finding["code"], finding["subject"]) for finding in errors(foreseen)] == [(code, key)]
    assert exit_code == BROKEN
    with training(training_python, folder, log, **settings) as process:
        assert process.wait(60) != 0
    assert died_of in log.read_text()


def test_a_broken_row_is_foreseen(training_python: Path, tmp_path: Path) -> None:
    config = configuration(tmp_path / "out")
    rows = tmp_path / "rows.jsonl"
    lines = rows.read_text().splitlines(keepends=True)
    rows.write_text("".join([*lines[:6], lines[6][:20] + "\n", *lines[7:]]))
    foreseen, exit_code = preflight(training_python, config)
    (finding,) = errors(foreseen)
    assert (finding["code"], exit_code) == ("PF-data-syntax", BROKEN)
    assert "line 7 is no JSON record" in finding["summary"]
    done = subprocess.run([str(training_python), str(SCRIPT), str(config)], capture_output=True, text=True, timeout=60)
    assert "JSONDecodeError" in done.stderr


def test_a_small_disk_is_foreseen_and_fills(training_python: Path, tmp_path: Path) -> None:
    """A tmpfs of 3 MB in a mount namespace of our own; a checkpoint takes about 0.4 MB, and none is deleted."""
    disk, log, foreseen_file, events_file = (tmp_path / name for name in ("disk", "log", "foreseen", "events"))
    disk.mkdir()
    config = configuration(tmp_path / "out", output_dir=f"{disk}/out", save_steps=5, save_total_limit=None, pause=0.1)
    doctor = f"{sys.executable} -m flash_doctor"
    script = f"""
        mount -t tmpfs -o size=3m none {disk} || exit 77
        {doctor} preflight {config} --python {training_python} --json > {foreseen_file}
        {training_python} {SCRIPT} {config} > {log} 2>&1 &
        {doctor} watch {disk} {disk}/out --every {INTERVAL} --json --until-red > {events_file}
        code=$?; kill $!; exit $code
    """
    if not shutil.which("unshare"):
        pytest.skip("no unshare here")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    if done.returncode == 77 or not events_file.exists():
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()[-100:]}")
    foreseen = json.loads(foreseen_file.read_text())
    assert foreseen["exit_code"] == BROKEN
    (finding,) = errors(foreseen["findings"])
    assert (finding["code"], finding["subject"]) == ("PF-disk-checkpoints", "save_total_limit")
    assert "10 x" in finding["evidence"][-3], "50 steps, saved every 5, none deleted"
    events = [json.loads(line) for line in events_file.read_text().splitlines()]
    assert done.returncode == BROKEN, done.stderr
    assert {"W-disk", "W-disk-eta"} & set(codes(events))
