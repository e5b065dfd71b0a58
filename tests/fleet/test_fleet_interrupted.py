"""Ctrl-C, a lost terminal and `kill` during a fleet check: nothing is left running, here or on a node, and no file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clusters import hanging

from flash_doctor.errors import INTERRUPTED
from flash_doctor.fleet.gather import Errand
from flash_doctor.fleet.ray_driver import answer

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SINFO = "#!/bin/sh\nfor n in 1 2 3; do echo gpu$n idle; done\n"
# like the real one it has a child of its own, and tidies up when it is asked to end
SRUN = """#!/bin/sh
cat > /dev/null
trap '{trap}' TERM
sleep 300 &
echo $$ $! > {folder}/draft.$$
mv {folder}/draft.$$ {folder}/started.$$
while :; do wait; done
"""


def started(folder: Path, count: int) -> list[int]:
    """The processes of that many sruns, once they run."""
    for _ in range(300):
        if len(found := list(folder.glob("started.*"))) == count:
            return [int(pid) for file in found for pid in file.read_text().split()]
        time.sleep(0.1)
    pytest.fail(f"{count} sruns did not start")


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int]) -> bool:
    for _ in range(50):
        if not any(map(running, pids)):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.name)
@pytest.mark.parametrize("trap", ["echo $$ > {folder}/cancelled.$$; exit 1", ""], ids=["heeds", "ignores"])
def test_no_srun_outlives_the_command(ending: signal.Signals, trap: str, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    for name, script in (("sinfo", SINFO), ("srun", SRUN.format(folder=tmp_path, trap=trap.format(folder=tmp_path)))):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp")}
    environment.pop("SLURM_JOB_ID", None)
    command = [sys.executable, "-m", "flash_doctor", "fleet", "check", "--engine", "slurm"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        pids = started(tmp_path, 3)
        process.send_signal(ending)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (INTERRUPTED, b"flash-doctor: interrupted\n")
    assert gone(pids)
    assert len(list(tmp_path.glob("cancelled.*"))) == (3 if trap else 0)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS[1:], ids=lambda ending: ending.name)
def test_a_step_that_is_cancelled_leaves_nothing_on_its_node(ending: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    patient = hanging(tmp_path / "hangs")
    errand = Errand(python=str(patient), timeout=60)
    environment = {**os.environ, "FLASH_DOCTOR_CACHE": "/dev/null/no", "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-I", "-c", errand.stub, *errand.arguments]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(errand.shipment.data)
        process.stdin.close()
        process.stdin = None
        for _ in range(300):
            if (patient / "started").exists():
                break
            time.sleep(0.1)
        assert list((tmp_path / "tmp").iterdir()), "the doctor was unpacked there"
        process.send_signal(ending)
        process.communicate(timeout=20)
    assert gone([int((patient / "started").read_text())])
    assert list((tmp_path / "tmp").iterdir()) == []


def test_no_child_outlives_a_check_that_is_interrupted(tmp_path: Path) -> None:
    """Also one that nobody waits for yet: the doctor works while its children do."""
    patient = hanging(tmp_path / "hangs")
    command = [sys.executable, "-m", "flash_doctor", "check", "--python", str(patient)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for _ in range(300):
            if (patient / "started").exists():
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert gone([int((patient / "started").read_text())])


class Cluster:
    """A Ray whose node answers what it likes."""

    def __init__(self, value: object) -> None:
        self.value = value

    def get(self, reference: object, timeout: float) -> object:
        assert (reference, timeout) == ("reference", 30)
        return self.value


@pytest.mark.parametrize(
    ("value", "output", "failure"),
    [
        (("fine", ""), "fine", ""),
        (("x" * 3_000_000, ""), "", "it answered more than 2 MiB"),
        (("", "x" * 3_000_000), "", "it answered more than 2 MiB"),
        (3, "", "TypeError: 'int' object is not iterable"),
        (("a", "b", "c"), "", "ValueError: too many values to unpack (expected 2)"),
    ],
)
def test_a_node_that_answers_too_much_or_nonsense_is_one_row(value: object, output: str, failure: str) -> None:
    found = answer(Cluster(value), "reference", "gpu1", 1.0, limit=1 << 20)
    assert (found["node"], found["output"], found["failure"]) == ("gpu1", output, failure)
