"""Ray: one task per live node, driven by a script in the cluster's own interpreter, since the two must agree on Ray."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flash_doctor.errors import BadInput, CommandFailed, TimedOut
from flash_doctor.fleet.gather import NodeAnswer
from flash_doctor.fleet.reading import MAX_DOCUMENT
from flash_doctor.system.bounds import read_json
from flash_doctor.system.codec import decode
from flash_doctor.system.paths import find_program
from flash_doctor.system.process import Command, Runner
from flash_doctor.system.redact import last_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.fleet.gather import Errand
    from flash_doctor.system.claims import Claimed

T = TypeVar("T")
DRIVER = Path(__file__).with_name("ray_driver.py")
START = 30.0  # seconds for Ray to start a worker on a node
_CONNECT = 60.0
_LIMIT = 1024 * 1024 * 1024
_ORIGIN = "Ray's driver"
_HAS_RAY = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ray') is None)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ray:
    """A running cluster at `address` (as in 10.0.0.1:6379), or the one that this machine is part of."""

    runner: Runner
    environ: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    python: str = ""

    def answers(self, errand: Errand) -> Iterator[NodeAnswer]:
        """One for each live node.

        Raises:
            BadInput: no interpreter has Ray, or the cluster does not answer.
        """
        settings = {
            "address": self.address or "auto",
            "mark": errand.mark,
            "stub": errand.stub,
            "arguments": errand.arguments,
            "seconds": errand.timeout,
            "start": START,
            "limit": 2 * MAX_DOCUMENT,
        }
        command = Command(
            argv=(self.interpreter(), "-c", DRIVER.read_text(encoding="utf-8"), json.dumps(settings)),
            timeout=errand.timeout + START + _CONNECT,
            stdin=errand.shipment.data,
            limit=_LIMIT,
            environment={"RAY_ENABLE_UINT64_METRICS": "0", "PYTHONWARNINGS": "ignore"},
        )
        output, errors = self._driven(command)
        yield from _answers(output, errors, errand.mark)

    def _driven(self, command: Command) -> tuple[str, str]:
        """What the driver printed, until it ended or its time did."""
        try:
            done = self.runner.run(command)
        except TimedOut as error:
            return error.stdout.decode("utf-8", "replace"), error.message
        except CommandFailed as error:
            message = "Ray could not be asked"
            raise BadInput(message, evidence=(error.message,)) from error
        return done.text, done.errors

    def interpreter(self) -> str:
        """The one that was named, else the first that has Ray: the active environment's, ours, the one of `ray`."""
        found = next(filter(self._has_ray, dict.fromkeys(self._candidates())), None)
        if found:
            return found
        message = f"{self.python} has no Ray" if self.python else "no Python with Ray was found"
        raise BadInput(message, advice="Name the cluster's interpreter: --python PATH, or install flash-doctor[fleet]")

    def _has_ray(self, python: str) -> bool:
        try:
            return self.runner.run(Command(argv=(python, "-c", _HAS_RAY), timeout=20)).returncode == 0
        except CommandFailed:
            return False

    def _candidates(self) -> Iterator[str]:
        if self.python:
            place = Path(os.path.abspath(self.python))  # noqa: PTH100 Path.resolve would follow a venv's link
            beside = os.sep in self.python or place.is_dir()
            yield str(place / "bin" / "python" if place.is_dir() else place if beside else self.python)
            return
        if active := self.environ.get("VIRTUAL_ENV"):
            yield str(Path(os.path.abspath(active), "bin", "python"))  # noqa: PTH100
        yield sys.executable
        if ray := find_program("ray", self.environ.get("PATH")):
            yield str(ray.resolve().with_name("python"))


def _answers(output: str, errors: str, mark: str) -> Iterator[NodeAnswer]:
    """Every node that the driver named has one, even if the driver did not live to tell it."""
    lines = output.split(f"\n@@{mark} ")[1:]
    begun = _read(_Opening, lines[0]) if lines else None
    if begun is None:
        words = last_lines(errors, 3)
        message = "the Ray cluster does not answer"
        raise BadInput(
            message, evidence=words, advice="Is it running, and is the address right? ray status --address …"
        )
    told = {answer.node: answer for line in lines[1:] if (answer := _read(NodeAnswer, line))}
    yield from told.values()
    for name in begun.nodes:
        if name not in told:
            why = "Ray's driver ended before it answered"
            yield NodeAnswer(node=name, sent=begun.at, received=time.time(), failure=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """The driver's first line: the live nodes, and when it began (seconds since 1970)."""

    nodes: tuple[str, ...]
    at: float


def accept(claim: Claimed[T]) -> T:
    """As it is: names and failures are only shown, and what a node printed is read as a claim again."""
    return claim.unproved()


def _read(kind: type[T], line: str) -> T | None:
    """One line of the driver's; None where it is none of its lines."""
    try:
        claim = read_json(line.partition("\n")[0], limit=4 * MAX_DOCUMENT, origin=_ORIGIN)
        return accept(decode(kind, claim))
    except (BadInput, ValueError):
        return None
