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

from mounts import mounted
from prologs import BLIND, HEALTH_CHECK, HEALTHY, PROLOG, SICK, Node, compile_driver, real_doctor

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


def as_slurm_wants_it(script: Path, settings: Path) -> Path:
    """slurm.conf names a program without arguments."""
    file = settings.with_name(f"run-{script.name}")
    file.write_text(f"#!/bin/sh\nexec {script} {settings}\n")
    file.chmod(0o755)
    return file


def test_the_health_check_drains_a_sick_node_and_gives_it_back(tmp_path: Path) -> None:
    """By the script that ships, run by slurmd itself; the doctor's answer is the test's to change."""
    sick = tmp_path / "sick"
    sick.touch()
    node = Node(tmp_path)
    doctor = node.doctor(f"if [[ $(cat {sick}) == yes ]]; then {SICK}; else {HEALTHY}; fi")
    settings = node.configured(FLASH_DOCTOR=str(doctor), SLURM_CONF=f"{tmp_path}/slurm/slurm.conf")
    program = as_slurm_wants_it(HEALTH_CHECK, settings)
    more = f"HealthCheckProgram={program}\nHealthCheckInterval=1\nHealthCheckNodeState=ANY\n"
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm", {"n1": {}}, more=more) as cluster:
        scontrol = [str(find("scontrol")), "update", "NodeName=n1", "State=DRAIN", "Reason=disk is changed"]
        subprocess.run(scontrol, check=True, env=cluster.environ, timeout=30)
        sick.write_text("yes")
        time.sleep(4)
        sick.write_text("no")
        time.sleep(4)
        assert states(cluster.environ)["n1"].endswith("disk is changed")
        subprocess.run([*scontrol[:3], "State=RESUME"], check=True, env=cluster.environ, timeout=30)
        sick.write_text("yes")
        wait_until(cluster.environ, "n1", "flash-doctor: D203 driver: its gone")
        assert states(cluster.environ)["n1"].startswith("drained")
        doctor.write_text("#!/bin/sh\nexit 1\n")  # as one that cannot be imported
        time.sleep(4)
        assert "could not look at n1: flash-doctor ended with 1" in node.log
        assert states(cluster.environ)["n1"].startswith("drained")
        node.doctor(HEALTHY)
        wait_until(cluster.environ, "n1", "idle")


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="the real driver would contradict the compiled one")
def test_a_prolog_drains_a_node_whose_driver_is_faulty_and_no_other(tmp_path: Path) -> None:
    """The shipped script and the doctor itself, on a compiled stand-in for the driver's library."""
    node, machine, full = Node(tmp_path), tmp_path / "machine", tmp_path / "full"
    machine.write_text("FAKE_NVML_MACHINE=h200")
    real = real_doctor(node, {"LD_LIBRARY_PATH": str(compile_driver(tmp_path))})
    real = real.rename(tmp_path / "real")
    doctor = node.doctor(f'exec env $(cat {machine}) {real} "$@"')
    settings = node.configured(FLASH_DOCTOR=str(doctor), FLASH_DOCTOR_TIME_LIMIT="30")
    program = as_slurm_wants_it(PROLOG, settings)
    full.mkdir()
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm", {"n1": {}}, more=f"Prolog={program}\nPrologFlags=Alloc\n") as cluster:
        users = "CUDA_VISIBLE_DEVICES=-1,LD_LIBRARY_PATH=/usr/local/cuda/lib64/stubs,FLASH_DOCTOR_FACTS=/nowhere"
        srun = [str(find("srun")), "-N1", "-n1", "--immediate=20", f"--export=ALL,{users}", "-J", "$(exit 1)", "true"]

        def job() -> int:
            wait_until(cluster.environ, "n1", "idle")
            return subprocess.run(srun, capture_output=True, env=cluster.environ, timeout=90).returncode

        assert job() == 0
        with mounted(full, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
            (full / "file").write_bytes(bytes(64 << 10))
            machine.write_text(f"FAKE_NVML_MACHINE=h200 HOME={full} TMPDIR={full} FLASH_DOCTOR_CACHE={full}")
            assert job() == 0
        assert node.log == ""
        machine.write_text("FAKE_NVML_INIT=20")
        assert job() == 0
        assert "could not look at this node: the driver could not be asked: NVML_ERROR_MEMORY (20)" in node.log
        doctor.chmod(0o644)
        assert job() == 0
        assert "could not look at this node: there is no program" in node.log
        doctor.chmod(0o755)
        machine.write_text("FAKE_NVML_INIT=18")
        wait_until(cluster.environ, "n1", "idle")
        with subprocess.Popen(srun, env=cluster.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sick:
            wait_until(cluster.environ, "n1", "drain")
            sick.kill()
        assert "this node is drained: D202 NVIDIA driver: " in node.log


def test_a_prolog_that_may_not_fail_to_look_ends_as_the_admin_chose(tmp_path: Path) -> None:
    node = Node(tmp_path)
    settings = node.configured(FLASH_DOCTOR=str(node.doctor(BLIND)), FLASH_DOCTOR_PROLOG_UNCHECKED="1")
    program = as_slurm_wants_it(PROLOG, settings)
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm", {"n1": {}}, more=f"Prolog={program}\nPrologFlags=Alloc\n") as cluster:
        srun = [str(find("srun")), "-N1", "-n1", "true"]
        with subprocess.Popen(srun, env=cluster.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
            wait_until(cluster.environ, "n1", "drain")
            job.kill()
    assert "could not look at this node: NVML gave no answer (D203)" in node.log
