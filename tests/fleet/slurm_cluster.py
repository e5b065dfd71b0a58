"""A real Slurm on this machine: munged, slurmctld and several slurmd on loopback, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sinfo", "scontrol")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
TaskProlog={folder}/prolog
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SlurmdTimeout=300
KillWait=2
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why no Slurm can be started here; "" where it can."""
    missing = [name for name in PROGRAMS if not find(name)]
    if missing:
        return f"no {', '.join(missing)} (Debian: apt install slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "slurmd must be started by root"


def find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@dataclass
class Slurm:
    """The running cluster; `environ` is what its commands need to find it."""

    folder: Path
    environ: dict[str, str]
    alive: list[str]

    def kill_node(self, name: str, task: int) -> None:
        """As a power cut does: the node's slurmd, the step's daemon above `task`, and the task, at once."""
        self.alive.remove(name)
        victims = [int((self.folder / f"slurmd.{name}.pid").read_text()), *_line_up_to_stepd(task)]
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)


def _line_up_to_stepd(pid: int) -> list[int]:
    line = []
    while pid > 1:
        status = Path(f"/proc/{pid}/status").read_text()
        line.append(pid)
        if "slurmstepd" in status.partition("\n")[0]:
            return line
        pid = int(status.partition("PPid:")[2].split()[0])
    return line[:1]


@contextmanager
def slurm(folder: Path, nodes: Mapping[str, Mapping[str, str]], absent: str = "", more: str = "") -> Iterator[Slurm]:
    """A cluster with these nodes and their variables; `absent` is configured too, and never started.

    `more` are lines for slurm.conf.
    """
    for name in ("state", "munge", "spool"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    _write_prolog(folder / "prolog", nodes)
    configuration = _configure(folder, [*nodes, absent], more)
    cluster = Slurm(folder, {**os.environ, "SLURM_CONF": str(configuration)}, list(nodes))
    try:
        _start("munged", "--force", f"--key-file={key}", *(f"--{k}={folder}/munge/{v}" for k, v in _MUNGE.items()))
        _start("slurmctld", "-c", "-f", str(configuration))
        for name in nodes:
            (folder / "spool" / name).mkdir()
            _start("slurmd", "-c", "-N", name, "-f", str(configuration))
        _wait_until_idle(cluster, len(nodes))
        yield cluster
    finally:
        _end_jobs(cluster)
        for file in (*folder.glob("*.pid"), folder / "munge" / "pid"):
            with suppress(OSError, ValueError):
                os.kill(int(file.read_text()), signal.SIGTERM)


def _end_jobs(cluster: Slurm) -> None:
    """And wait for it: a step's daemon whose controller is gone stays for ever."""
    for _ in range(50):
        subprocess.run([str(find("scancel")), "--me"], capture_output=True, env=cluster.environ, timeout=30)
        squeue = [str(find("squeue")), "-h", "-w", ",".join(cluster.alive)]
        done = subprocess.run(squeue, capture_output=True, text=True, env=cluster.environ, timeout=30)
        if not done.stdout.strip():
            return
        time.sleep(0.2)


_MUNGE = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


def _start(name: str, *arguments: str) -> None:
    program = find(name)
    assert program
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{name}: {done.stderr}"


def _write_prolog(file: Path, nodes: Mapping[str, Mapping[str, str]]) -> None:
    """What a task's prolog prints as `export NAME=value` is set in the task: the nodes' own variables."""
    cases = "".join(
        f"{name}) " + "".join(f"echo 'export {key}={value}'; " for key, value in variables.items()) + ";;\n"
        for name, variables in nodes.items()
    ).replace("; ;;", " ;;")
    file.write_text(f'#!/bin/sh\ncase "$SLURMD_NODENAME" in\n{cases}esac\n')
    file.chmod(0o755)


def _configure(folder: Path, nodes: list[str], more: str) -> Path:
    host = socket.gethostname().partition(".")[0]
    ports = _free_ports(len(nodes) + 1)
    lines = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2"
        for name, port in zip(nodes, ports[1:], strict=True)
        if name
    ]
    file = folder / "slurm.conf"
    file.write_text(CONFIGURATION.format(host=host, port=ports[0], folder=folder, nodes="\n".join(lines)) + more)
    return file


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_until_idle(cluster: Slurm, number: int) -> None:
    sinfo = [str(find("sinfo")), "-h", "-N", "-o", "%T"]
    for _ in range(100):
        done = subprocess.run(sinfo, capture_output=True, text=True, env=cluster.environ, timeout=30)
        if done.stdout.split().count("idle") == number:
            return
        time.sleep(0.2)
    raise AssertionError(done.stdout + done.stderr)
