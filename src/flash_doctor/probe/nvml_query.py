"""The question to NVML: a child that runs nvml.py, what it answers, and what its silence means."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput, CommandFailed, TimedOut
from flash_doctor.model import Gpu, Part, Unknown
from flash_doctor.probe.loader import WSL_FOLDER
from flash_doctor.system.bounds import read_json
from flash_doctor.system.codec import decode
from flash_doctor.system.process import Command, survives
from flash_doctor.system.redact import cut, last_lines

if TYPE_CHECKING:
    from flash_doctor.system.claims import Claimed
    from flash_doctor.system.process import Runner, Running

# A driver that many programs use at once is slow, and so is a machine that is overloaded: any user can bring that
# about. A process that waits for such a driver is ended by SIGKILL when its turn comes, one in a wedged driver is not.
_TURN = 10.0
_MOST_QUEUED = 1.0
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
NO_ANSWER = (_HANGS, _SILENT) = ("NVML hangs", "NVML gave no answer")
_ASKING = "the driver is asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlAnswer:
    """What the child of nvml.py prints."""

    failure: Part[str]
    library_file: Part[Path]
    library: Part[str]
    driver: Part[str]
    cuda: Part[int]
    gpus: Part[tuple[Gpu, ...]]


def start(runner: Runner, library: Path | None, limit: float) -> Running | Unknown:
    """The child, started; it is to be given up after `limit` seconds."""
    try:
        return runner.start(_command(library, limit))
    except CommandFailed as failed:
        return Unknown(unknown=failed.message)


def _command(library: Path | None, limit: float) -> Command:
    """nvml.py as text, so that it runs from a zip too; without site, whose start-up files are not ours to run."""
    loader = __spec__.loader
    assert loader is not None
    source = loader.get_data(str(Path(__file__).with_name("nvml.py"))).decode()  # type: ignore[attr-defined]
    folders = [entry for entry in sys.path if entry]  # "" is the current folder: no place for our modules
    # bytecode is kept as for every module of ours: compiling pynvml each time would take a tenth of a second
    flags = "-ISB" if sys.dont_write_bytecode else "-IS"
    return Command(
        argv=(sys.executable or "python3", flags, "-c", source, _ASKING, *folders),
        timeout=limit,
        environment=_search_path(library),
    )


def _search_path(library: Path | None) -> dict[str, str]:
    """WSL's folder is not always in the loader's cache; any other the loader finds as it found it for us."""
    if library is None or not str(library.parent).endswith(WSL_FOLDER):
        return {}
    before = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": f"{before}:{library.parent}" if before else str(library.parent)}


def finish(child: Running | Unknown) -> NvmlAnswer | str | Unknown:
    """Its answer; text where the driver hangs or its library crashed; Unknown where it could not be asked."""
    if isinstance(child, Unknown):
        return child
    try:
        return _parse(child)
    except TimedOut as late:
        return _why_late(late)
    except CommandFailed as failed:
        return Unknown(unknown=failed.message)


def _why_late(late: TimedOut) -> str | Unknown:
    """A driver that does not let go of a killed process hangs; else nobody knows whether it would have answered."""
    pid = late.lingering if late.queued < _MOST_QUEUED and _is_asking(late.stdout) else None
    if pid is not None and survives(pid, _TURN):
        return f"{_HANGS}: {late.message}, and SIGKILL does not end it"
    return Unknown(unknown=f"{_SILENT}: {late.message}; it hangs, or this machine is too busy")


def _is_asking(stdout: bytes) -> bool:
    return _ASKING.encode() in stdout.splitlines()


def _parse(child: Running) -> NvmlAnswer | str | Unknown:
    """The last line that the child printed, as a value; libraries may print before it."""
    done = child.wait()
    lines = done.text.strip().splitlines()
    with contextlib.suppress(ValueError, BadInput):
        return _accept(decode(NvmlAnswer, read_json(lines[-1] if lines else "", origin="NVML")))
    end = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    said = last_lines(done.errors, 1) or ["nothing on stderr"]
    why = f"asking NVML ended with {end}: {cut(said[0], 200)}"
    return why if -done.returncode in _CRASHES and _is_asking(done.stdout) else Unknown(unknown=why)


def _accept(answer: Claimed[NvmlAnswer]) -> NvmlAnswer:
    """As it is: the child is ours, and nothing in it is a path, an address or a name that is acted upon."""
    return answer.unproved()
