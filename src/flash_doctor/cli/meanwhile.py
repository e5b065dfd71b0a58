"""Work of ours that is done while the first child runs: imports and facts that are needed after it anyway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.system.process import Runner, Running

if TYPE_CHECKING:
    from flash_doctor.system.process import Command, Completed


@dataclass
class Meanwhile:
    """A runner whose first wait for a child is not idle: `work` is done before it, beside the child."""

    runner: Runner
    work: Callable[[], None]

    def start(self, command: Command) -> Running:
        return _Occupied(self.runner.start(command), self)

    def run(self, command: Command) -> Completed:
        return self.start(command).wait()

    def occupy(self) -> None:
        """Do the work, the first time only."""
        work, self.work = self.work, _nothing
        work()


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class _Occupied:
    running: Running
    owner: Meanwhile

    def wait(self) -> Completed:
        self.owner.occupy()
        return self.running.wait()
