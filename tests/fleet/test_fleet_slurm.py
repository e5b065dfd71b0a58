"""`fleet check` on a real Slurm: several nodes on this machine, made different by the tasks' prolog."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clusters import environment, hanging
from slurm_cluster import find, slurm, why_not

pytestmark = [pytest.mark.index, pytest.mark.skipif(bool(why_not()), reason=why_not())]


def doctor(environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flash_doctor", "fleet", "check", "--engine", "slurm", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in environ.items() if key != "VIRTUAL_ENV"},
    )


def wait_for(file: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not come"
        time.sleep(0.1)


def test_nodes_that_differ_hang_die_are_full_or_never_came(tmp_path: Path) -> None:
    good, odd = environment(tmp_path / "good", "2.8.0+cu128"), environment(tmp_path / "odd", "2.7.1+cu126")
    healthy = {"VIRTUAL_ENV": str(good), "FLASH_DOCTOR_CACHE": str(tmp_path / "cache")}
    nodes = {
        "n1": healthy,
        "n2": healthy,
        "n3": {**healthy, "NCCL_PROTO": "LL"},
        "n4": {**healthy, "VIRTUAL_ENV": str(odd)},
        "n5": {**healthy, "VIRTUAL_ENV": str(hanging(tmp_path / "hangs"))},
        "n6": {**healthy, "VIRTUAL_ENV": str(hanging(tmp_path / "dies"))},
        "n7": healthy,
    }
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm", nodes, absent="n8") as cluster:
        full = [str(find("srun")), "-N1", "-n1", "-c2", "--exclusive", "-w", "n7", "sleep", "300"]
        with subprocess.Popen(full, env=cluster.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as busy:
            begun = time.monotonic()
            process = doctor(cluster.environ, "--timeout", "6")
            wait_for(tmp_path / "dies" / "started", 60)
            cluster.kill_node("n6", int((tmp_path / "dies" / "started").read_text()))
            output, errors = process.communicate(timeout=100)
            busy.kill()
    assert process.returncode == 1, errors
    assert time.monotonic() - begun < 70
    document = json.loads(output)
    assert document["names"] == ["n1", "n2", "n3", "n4"]
    differences = {each["aspect"]: each for each in document["differences"]}
    assert (differences["torch"]["nodes"], differences["torch"]["value"]) == (["n4"], "2.7.1")
    assert differences["NCCL_PROTO"]["nodes"] == ["n3"]
    lost = {node: each["why"] for each in document["lost"] for node in each["nodes"]}
    assert sorted(lost) == ["n5", "n6", "n7", "n8"]
    assert lost["n5"] == "unreachable: its check did not end within 6 seconds"
    assert lost["n7"] == "unreachable: Unable to allocate resources: Requested nodes are busy"
    assert lost["n8"].startswith("unreachable: Slurm says that it is unknown")


def test_inside_an_allocation_its_own_nodes_are_asked(tmp_path: Path) -> None:
    healthy = {"FLASH_DOCTOR_CACHE": str(tmp_path / "cache")}
    (tmp_path / "slurm").mkdir()
    command = [sys.executable, "-m", "flash_doctor", "fleet", "check", "--engine", "slurm", "--host-only", "--json"]
    with slurm(tmp_path / "slurm", {"n1": healthy, "n2": healthy, "n3": healthy}) as cluster:
        salloc = [str(find("salloc")), "-N2", "-w", "n2,n3", "--exclusive", *command]
        done = subprocess.run(salloc, capture_output=True, text=True, env=cluster.environ, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["names"] == ["n2", "n3"]


def states(environ: dict[str, str]) -> dict[str, str]:
    sinfo = [str(find("sinfo")), "-h", "-N", "-o", "%N %T %E"]
    done = subprocess.run(sinfo, capture_output=True, text=True, env=environ, timeout=30)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def wait_until(environ: dict[str, str], node: str, wanted: str) -> None:
    for _ in range(150):
        told = states(environ)[node]
        if wanted in told:
            return
        time.sleep(0.2)
    raise AssertionError(told)


def script(file: Path, text: str) -> Path:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def test_the_health_check_drains_a_sick_node_and_gives_it_back(tmp_path: Path) -> None:
    """By the script that ships, run by slurmd itself; the doctor's answer is the test's to change."""
    sick = tmp_path / "sick"
    sick.mkdir()
    doctor = script(
        tmp_path / "flash-doctor",
        f'if [ -e "{sick}/$SLURMD_NODENAME" ]; then echo; echo "1 error"; echo "  G101 GPU 0: It\'s gone."; exit 1; fi',
    )
    shipped = Path(__file__).parents[2] / "scripts" / "slurm-health-check"
    (tmp_path / "slurm").mkdir()
    settings = f"FLASH_DOCTOR={doctor} SLURM_CONF={tmp_path}/slurm/slurm.conf"
    checked = script(tmp_path / "check", f"export {settings}\nexec {shipped}")
    more = f"HealthCheckProgram={checked}\nHealthCheckInterval=1\nHealthCheckNodeState=ANY\n"
    with slurm(tmp_path / "slurm", {"n1": {}, "n2": {}}, more=more) as cluster:
        (sick / "n2").touch()
        wait_until(cluster.environ, "n2", "flash-doctor: G101 GPU 0: Its gone.")
        assert states(cluster.environ)["n2"].startswith("drained")
        assert states(cluster.environ)["n1"].startswith("idle")
        (sick / "n2").unlink()
        wait_until(cluster.environ, "n2", "idle")


def test_a_prolog_that_finds_an_error_drains_the_node_and_one_that_warns_does_not(tmp_path: Path) -> None:
    """As the README has it: the doctor's own exit code is what slurmd wants of a prolog."""
    answer = tmp_path / "answer"
    answer.write_text("0")
    doctor = script(tmp_path / "flash-doctor", f"exit $(cat {answer})")
    prolog = script(tmp_path / "prolog", f"{doctor} check --host-only >/dev/null 2>&1 || [ $? -ne 1 ]")
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm", {"n1": {}}, more=f"Prolog={prolog}\nPrologFlags=Alloc\n") as cluster:
        srun = [str(find("srun")), "-N1", "-n1", "--immediate=5", "true"]
        assert subprocess.run(srun, capture_output=True, env=cluster.environ, timeout=60).returncode == 0
        wait_until(cluster.environ, "n1", "idle")
        for harmless in ("6", "0"):
            answer.write_text(harmless)
            assert subprocess.run(srun, capture_output=True, env=cluster.environ, timeout=60).returncode == 0
        answer.write_text("1")
        with subprocess.Popen(srun, env=cluster.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
            wait_until(cluster.environ, "n1", "drain")
            job.kill()
