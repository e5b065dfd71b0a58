"""One entry per reader of strangers' bytes: a name, seeds, how they are changed, what is called, what it promises."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from flash_doctor.errors import DoctorError
from fuzzing.mutate import dumped

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"
READERS: dict[str, Reader] = {}


@dataclass
class Reader:
    """`change` gets a Random and the seeds; `plain` are the seeds as bytes, which are tried first.

    A `slow` one reads fewer than some 300 inputs a second.
    """

    name: str
    seeds: Callable[[], list[Any]]
    change: Callable[[Random, list[Any]], bytes]
    call: Callable[[bytes], object]
    allowed: tuple[type[BaseException], ...]
    written: Callable[[Any], bytes]
    slow: bool
    found: list[Any] = field(default_factory=list)
    plain: list[bytes] = field(default_factory=list)

    def prepare(self) -> None:
        """Bring the seeds, and import what the reader imports late."""
        if not self.found:
            self.found = self.seeds()
            self.plain = [self.written(seed) for seed in self.found]
            for data in self.plain:
                with contextlib.suppress(*self.allowed):
                    self.call(data)

    def mutate(self, random: Random) -> bytes:
        return self.change(random, self.found)


def reader(
    name: str,
    seeds: Callable[[], list[Any]],
    change: Callable[[Random, list[Any]], bytes],
    *,
    allowed: tuple[type[BaseException], ...] = (),
    slow: bool = False,
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Register what is called with each input; `allowed` are the exceptions that it documents beside DoctorError."""

    def register(call: Callable[[bytes], object]) -> Callable[[bytes], object]:
        promised = (DoctorError, *allowed)
        READERS[name] = Reader(name, seeds, change, call, promised, _written, slow)
        return call

    return register


def _written(seed: Any) -> bytes:
    if isinstance(seed, bytes):
        return seed
    return seed.encode("utf-8", "surrogatepass") if isinstance(seed, str) else dumped(seed)


@cache
def scratch(process: int = 0) -> Path:
    """A folder of this process in memory, or where temporary files go."""
    if process != os.getpid():
        return scratch(os.getpid())
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="flash-doctor-fuzz-", dir=base))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def file(name: str, data: bytes) -> Path:
    """A file of the scratch folder with that content."""
    path = scratch() / name
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


@cache
def facts() -> Any:
    from flash_doctor.facts import Facts

    return Facts()
