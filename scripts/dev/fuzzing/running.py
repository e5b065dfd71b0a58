"""One reader after the other in a process of its own, each input under limits of time and memory."""

from __future__ import annotations

import gc
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from fuzzing.readers import READERS, Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU_SECONDS = 2.0
MEMORY = 500 << 20
STOP_SECONDS = 10.0  # of CPU time of an input, by a signal; what lets no signal through is killed after twice as many
HUNG_SECONDS = 120.0  # of an input that takes no CPU time: it waits for something
ADDRESSES = 4 << 30  # of the process: a reader that wants more gets a MemoryError, which is a finding
SAVED = 5  # findings of one place that are kept
_PROGRESS = struct.Struct("<qdd")


class Stopped(BaseException):
    """An input took too long."""


@dataclass
class Tally:
    """What came out of one reader: `refused` with an exception that it promises, `read` without one."""

    kind: str
    seed: str
    inputs: int = 0
    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    slowest_input: int = -1
    largest: int = 0
    largest_input: int = -1
    seconds: float = 0.0
    findings: list[dict[str, Any]] = field(default_factory=list)


def made(reader: Reader, seed: str, number: int) -> bytes:
    """The input with that number; number 0 and on are the seeds as they are."""
    plain = reader.plain
    return plain[number] if number < len(plain) else reader.mutate(Random(f"{seed}:{reader.name}:{number}"))


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def cpu_seconds(process: int) -> float:
    """Of a running child of ours."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Trial:
    """Inputs one by one; what is wrong with one is a finding."""

    def __init__(self, reader: Reader, seed: str) -> None:
        self.reader, self.tally = reader, Tally(kind=reader.name, seed=seed)
        self.before = resident()

    def one(self, number: int) -> str:
        """What was wrong, "" for nothing."""
        tally = self.tally
        data = made(self.reader, tally.seed, number)
        high, began = peak(), time.process_time()
        wrong = self._called(data)
        took, grown = time.process_time() - began, peak()
        tally.inputs += 1
        if took > tally.slowest:
            tally.slowest, tally.slowest_input = round(took, 4), number
        if grown > high and grown - self.before > tally.largest:
            tally.largest, tally.largest_input = grown - self.before, number
        if number % 64 == 0:
            self.before = resident()
        if not wrong and took > CPU_SECONDS:
            wrong = f"{took:.1f} s of CPU time"
        if not wrong and grown > high and grown - self.before > MEMORY:
            wrong = f"{(grown - self.before) >> 20} MiB"
        if wrong:
            tally.findings.append({"input": number, "bytes": len(data), "why": wrong})
        return wrong

    def _called(self, data: bytes) -> str:
        signal.setitimer(signal.ITIMER_PROF, STOP_SECONDS)
        try:
            self.reader.call(data)
        except self.reader.allowed:
            self.tally.refused += 1
        except Stopped:
            return f"it was stopped after {STOP_SECONDS:.0f} s"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return described(error)
        else:
            self.tally.read += 1
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return ""


def described(error: BaseException) -> str:
    """The exception and the last place of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "flash_doctor" in frame.filename] or frames
    place = f"{ours[-1].filename.rpartition('flash_doctor/')[2]}:{ours[-1].lineno}"
    return f"{type(error).__name__} at {place}: {str(error)[:200]!r}"


def stoppable() -> None:
    """Let the timer end an input of this process."""

    def stop(_signal: int, _frame: object) -> None:
        raise Stopped

    signal.signal(signal.SIGPROF, stop)


@dataclass
class Job:
    """One reader at work in a child, or waiting to be; a child that hangs is killed and followed by another."""

    reader: Reader
    seed: str
    count: int
    seconds: float
    folder: Path
    tallies: list[Tally] = field(default_factory=list)
    process: int = 0
    pipe: int = -1
    first: int = 0
    text: bytes = b""
    suspect: int = -1
    stuck: tuple[int, int] = (-1, 0)
    ended_by_us: bool = False

    def start(self) -> None:
        self.shared = mmap.mmap(-1, _PROGRESS.size)
        self._say(self.first)
        self.pipe, there = os.pipe()
        os.set_blocking(self.pipe, False)
        sys.stdout.flush()
        self.process = os.fork()
        if self.process:
            os.close(there)
            return
        try:
            tally = self._work()
            with os.fdopen(there, "w", encoding="utf-8") as told:
                json.dump(asdict(tally), told)
        finally:
            os._exit(0)

    def _say(self, number: int) -> None:
        _PROGRESS.pack_into(self.shared, 0, number, time.monotonic(), time.process_time())

    def _work(self) -> Tally:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what readers say is not what is tested
        stoppable()
        gc.freeze()
        trial, began, number = Trial(self.reader, self.seed), time.monotonic(), self.first
        places: dict[str, int] = {}
        while number < self.count and time.monotonic() - began < self.seconds:
            self._say(number)
            wrong = trial.one(number)
            place = wrong.partition(": ")[0]
            places[place] = places.get(place, 0) + 1
            if wrong and places[place] <= SAVED:
                save(self.folder, self.reader, self.seed, number, wrong)
            number += 1
        trial.tally.seconds = round(time.monotonic() - began, 1)
        return trial.tally

    def poll(self) -> bool:
        """Whether it has ended for good."""
        try:
            while piece := os.read(self.pipe, 1 << 16):
                self.text += piece
        except BlockingIOError:
            pass
        ended, status = os.waitpid(self.process, os.WNOHANG)
        number, since, burnt = _PROGRESS.unpack_from(self.shared, 0)
        if not ended:
            stuck = cpu_seconds(self.process) - burnt > 2 * STOP_SECONDS or time.monotonic() - since > HUNG_SECONDS
            before = self.stuck[1] if self.stuck[0] == number else 0
            self.stuck = (number, before + 1 if stuck else 0)
            if self.stuck[1] > 2:  # seen once, it may be that the child was writing while we read
                self.ended_by_us = True
                os.kill(self.process, signal.SIGKILL)
            return False
        try:
            while piece := os.read(self.pipe, 1 << 16):
                self.text += piece
        except BlockingIOError:
            pass
        os.close(self.pipe)
        if self.text:
            self.tallies.append(Tally(**json.loads(self.text)))
            return True
        return self._lost(number, status)

    def _lost(self, number: int, status: int) -> bool:
        """The child died, or was killed, over one input: that is a finding, and another goes on behind it."""
        if number != self.suspect and not self.ended_by_us:  # somebody else may have ended it: once more
            self.suspect = self.first = number
            self.text = b""
            self.start()
            return False
        why = "nothing could stop it" if self.ended_by_us else f"the process ended with status {status:#x}"
        lost = Tally(kind=self.reader.name, seed=self.seed, inputs=number + 1 - self.first)
        lost.findings.append({"input": number, "bytes": len(made(self.reader, self.seed, number)), "why": why})
        save(self.folder, self.reader, self.seed, number, why)
        self.tallies.append(lost)
        if len(self.tallies) > SAVED:
            return True
        self.first, self.text, self.ended_by_us = number + 1, b"", False
        self.start()
        return False


def save(folder: Path, reader: Reader, seed: str, number: int, why: str) -> None:
    """The input beside a line that says how to make it again."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{reader.name}-{seed}-{number}"
    (folder / name).write_bytes(made(reader, seed, number))
    line = f"{why}\nscripts/dev/fuzz.py --kind {reader.name} --seed {seed} --only {number}\n"
    (folder / f"{name}.txt").write_text(line, encoding="utf-8", errors="backslashreplace")


def tried(kinds: list[str], *, seed: str, count: int, seconds: float, jobs: int, folder: Path) -> Iterator[Tally]:
    """Every kind, `jobs` at a time; one tally each, as they end."""
    waiting = []
    for kind in kinds:
        reader = READERS[kind]
        reader.prepare()
        waiting.append(Job(reader=reader, seed=seed, count=count, seconds=seconds, folder=folder))
    working: list[Job] = []
    while waiting or working:
        while waiting and len(working) < jobs:
            working.append(waiting.pop(0))
            working[-1].start()
        time.sleep(0.05)
        for job in [job for job in working if job.poll()]:
            working.remove(job)
            yield merged(job.tallies)


def merged(tallies: list[Tally]) -> Tally:
    first = tallies[0]
    for other in tallies[1:]:
        first.inputs += other.inputs
        first.read += other.read
        first.refused += other.refused
        first.seconds += other.seconds
        first.findings += other.findings
        if other.slowest > first.slowest:
            first.slowest, first.slowest_input = other.slowest, other.slowest_input
        if other.largest > first.largest:
            first.largest, first.largest_input = other.largest, other.largest_input
    return first
