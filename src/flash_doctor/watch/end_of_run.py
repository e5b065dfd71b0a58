"""How a run is watched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from flash_doctor.watch.clock import World, Writer

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """`every` and `idle` in seconds, `red` a used share; `once`: what is there now; `until_red`: an error ends it."""

    every: float = 5.0
    red: float = 0.8
    idle: float = 3600.0
    once: bool = False
    until_red: bool = False


_SCAN = 30.0  # seconds between two looks at all processes: each costs some milliseconds


class End(Enum):
    """Why watching ends."""

    FINAL = "final"
    GONE = "gone"
    IDLE = "idle"
    ONCE = "once"
    RED = "red"
    STOPPED = "stopped"


@dataclass
class RunActivity:
    """What is known of the processes that write, and when something new came last (monotonic seconds)."""

    world: World
    idle: float
    grew_at: float
    writers: frozenset[Writer] = frozenset()
    scanned_at: float | None = None
    gone: bool = False

    def why(self, paths: frozenset[Path], *, grew: bool, is_final: bool, is_done: bool) -> End | None:
        """The reason to end, asked once a round: None while the run goes on.

        `is_final`: its final metrics were read; `is_done`: its last step was, and more may still come.
        """
        now = self.world.monotonic()
        self._look_for_writers(paths, now)
        if grew:
            self.grew_at = now
            return None
        if is_final or (is_done and not self.writers):
            return End.FINAL
        if self.gone:
            return End.GONE
        return End.IDLE if now - self.grew_at >= self.idle else None

    def _look_for_writers(self, paths: frozenset[Path], now: float) -> None:
        """Those known are asked each time; all processes once these are gone, else from time to time."""
        left = bool(self.writers) and not self.world.alive(self.writers)
        due = self.scanned_at is None or now - self.scanned_at >= _SCAN
        if left or (due and not self.writers):
            self.writers, self.scanned_at = self.world.writers(paths), now
            self.gone = (left or self.gone) and not self.writers
