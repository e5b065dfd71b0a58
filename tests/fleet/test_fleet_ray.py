"""`fleet check` on a real Ray cluster: six nodes on this machine, made different through their variables."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from clusters import environment, hanging

from kept import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.index
SCRIPT = Path(__file__).with_name("ray_cluster.py")
RAY = "ray>=2.10"


@pytest.fixture(scope="module")
def ray_python() -> Path:
    """A venv with Ray and without flash-doctor, made once and kept; skipped, with the reason, where there is no Ray."""
    folder = CACHE / f"ray-cp{sys.version_info.major}{sys.version_info.minor}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "ray-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            done = subprocess.run([*pip, RAY], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"pip could not install {RAY}: {done.stderr.strip()[-200:]}")
            (folder / "ready").touch()
    return folder / "bin" / "python"


@contextmanager
def cluster(python: Path, nodes: dict[str, dict[str, str]]) -> Iterator[tuple[dict[str, Any], IO[str]]]:
    """What the cluster says of itself, and where to tell it to kill a node."""
    with subprocess.Popen(
        [str(python), str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(nodes) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith('{"address"'):
                yield json.loads(line), process.stdin
                break
        process.stdin.close()
        process.wait(60)


def doctor(python: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """With Ray's folder on PATH, as in an active environment, and without anything else that names it."""
    environ = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    return subprocess.Popen(
        [sys.executable, "-m", "flash_doctor", "fleet", "check", "--engine", "ray", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environ, "PATH": f"{python.parent}:{environ['PATH']}"},
    )


def wait_for(file: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not come"
        time.sleep(0.1)


def test_six_nodes_of_which_one_hangs_and_one_dies(ray_python: Path, tmp_path: Path) -> None:
    lacking = subprocess.run([str(ray_python), "-c", "import flash_doctor"], capture_output=True, cwd=tmp_path)
    assert lacking.returncode != 0, "this Python has the doctor already, so nothing would be shipped"
    good, odd = environment(tmp_path / "good", "2.8.0+cu128"), environment(tmp_path / "odd", "2.7.1+cu126")
    healthy = {"VIRTUAL_ENV": str(good), "FLASH_DOCTOR_CACHE": str(tmp_path / "cache")}
    nodes = {
        "first": healthy,
        "second": healthy,
        "variable": {**healthy, "NCCL_PROTO": "LL", "CUDA_VISIBLE_DEVICES": "0"},
        "odd": {**healthy, "VIRTUAL_ENV": str(odd)},
        "hanging": {**healthy, "VIRTUAL_ENV": str(hanging(tmp_path / "hangs"))},
        "dying": {**healthy, "VIRTUAL_ENV": str(hanging(tmp_path / "dies"))},
    }
    with cluster(ray_python, nodes) as (told, stdin):
        names = {each[:8]: label for label, each in told["ids"].items()}
        begun = time.monotonic()
        process = doctor(ray_python, "--address", told["address"], "--timeout", "12", "--save", tmp_path / "saved")
        wait_for(tmp_path / "dies" / "started", 60)
        stdin.write("kill dying\n")
        stdin.flush()
        output, errors = process.communicate(timeout=110)
    assert process.returncode == 1, errors
    # 12 for the check, 30 for a worker to start, 60 to connect
    assert time.monotonic() - begun < 102

    def labels(nodes: list[str]) -> list[str]:
        return sorted(names[node.rpartition("-")[2]] for node in nodes)

    document = json.loads(output)
    assert labels(document["names"]) == ["first", "odd", "second", "variable"]
    differences = {each["aspect"]: each for each in document["differences"]}
    assert labels(differences["torch"]["nodes"]) == ["odd"]
    assert (differences["torch"]["value"], differences["torch"]["usual"]) == ("2.7.1", "2.8.0")
    assert labels(differences["NCCL_PROTO"]["nodes"]) == ["variable"]
    lost = {label: each["why"] for each in document["lost"] for label in labels(each["nodes"])}
    assert sorted(lost) == ["dying", "hanging"]
    assert lost["hanging"] == "unreachable: its check did not end within 12 seconds"
    assert lost["dying"].startswith("unreachable: ")
    visible = {
        labels([file.stem])[0]: json.loads(file.read_text())["environment"]["variables"].get("CUDA_VISIBLE_DEVICES")
        for file in (tmp_path / "saved").iterdir()
        if file.stem in document["names"]
    }
    # Ray hides the GPUs from a task that asks for none; what the node itself says must stay
    assert visible == {"first": None, "second": None, "odd": None, "variable": "0"}


def test_no_cluster_is_told_in_time(ray_python: Path) -> None:
    process = doctor(ray_python, "--address", "127.0.0.1:9")
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "does not answer" in json.loads(output)["error"]
