"""Has the run ended? By its final metrics, by its process, or because nothing has come for a long time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from flash_doctor.preflight.watch.world import World

if TYPE_CHECKING:
    from pathlib import Path


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
class Ending:
    """What is known of the writers, and when something new came last (monotonic seconds)."""

    world: World
    idle: float
    grew_at: float
    writers: frozenset[int] = frozenset()
    scanned_at: float | None = None

    def why(self, paths: frozenset[Path], *, grew: bool, is_final: bool) -> End | None:
        """The reason to end, asked once a round: None while the run goes on."""
        now = self.world.monotonic()
        if grew:
            self.grew_at = now
        had = bool(self.writers)
        self._look_for_writers(paths, now)
        if grew:
            return None
        if is_final:
            return End.FINAL
        if had and not self.writers:
            return End.GONE
        return End.IDLE if now - self.grew_at >= self.idle else None

    def _look_for_writers(self, paths: frozenset[Path], now: float) -> None:
        """Those known are asked each time; all processes when these are gone, or from time to time."""
        had = self.writers
        if had:
            self.writers = self.world.writers(paths, had)
        due = self.scanned_at is None or now - self.scanned_at >= _SCAN
        if not self.writers and (had or due):
            self.writers = self.world.writers(paths, frozenset())
            self.scanned_at = now
