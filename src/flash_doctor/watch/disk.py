"""Is there room for the rest of the run? Used share, rate of growth, and checkpoints, judged purely."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flash_doctor.model import Finding, Severity
from flash_doctor.rules.engine import Found
from flash_doctor.watch.findings import duration, finding, size
from flash_doctor.watch.robust import slope
from flash_doctor.watch.trainer_files import Settings

if TYPE_CHECKING:
    from flash_doctor.facts.watch import WatchFacts

_POINTS = 64
_YELLOW_OF_RED = 0.75
GREEN, YELLOW, RED = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A file system as df counts it, in bytes: what is used, and what is free for this user."""

    used: int
    free: int

    @property
    def share(self) -> float:
        return self.used / (self.used + self.free) if self.used + self.free else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskState:
    """One file system: its level, what was told, and (seconds, bytes used) at bounded many moments."""

    red: float
    level: int = GREEN
    points: tuple[tuple[float, float], ...] = ()
    spacing: float = 0.0

    @property
    def rate(self) -> float:
        """Bytes a second; where a robust slope sees none since the disk grows in leaps, that of the whole time."""
        if len(self.points) < 2:
            return 0.0
        (begin, first), (end, last) = self.points[0], self.points[-1]
        return slope(self.points) or (last - first) / (end - begin)


def judge_disk(
    state: DiskState, at: float, space: Space, folder: str, facts: WatchFacts
) -> tuple[DiskState, tuple[Finding, ...]]:
    """The state with one more look at `at` (seconds), and what changed: yellow, red, or back again."""
    state = _pointed(state, at, space)
    level = _level(state, space.share, facts)
    if level == state.level:
        return state, ()
    risen = level > state.level
    state = replace(state, level=level)
    return state, (_risen(state, space, folder, facts) if risen else _fallen(state, space, folder),)


def _pointed(state: DiskState, at: float, space: Space) -> DiskState:
    """One more point; where there are many every other one goes, so that they span the whole time."""
    if state.points and at - state.points[-1][0] <= state.spacing:
        return state
    points = (*state.points, (at, float(space.used)))
    if len(points) <= _POINTS:
        return replace(state, points=points)
    return replace(state, points=points[::2], spacing=2 * (at - points[0][0]) / _POINTS)


def _level(state: DiskState, share: float, facts: WatchFacts) -> int:
    """Up at once, down only when clearly below: a share at the border does not flicker."""
    yellow = min(facts.disk.yellow, state.red * _YELLOW_OF_RED)
    levels = [yellow, state.red]
    up = sum(share > border for border in levels)
    down = sum(share > border - facts.disk.slack for border in levels)
    return max(up, min(state.level, down))


def _risen(state: DiskState, space: Space, folder: str, facts: WatchFacts) -> Finding:
    colour, severity = ("red", Severity.ERROR) if state.level == RED else ("yellow", Severity.WARNING)
    summary = f"disk is {colour}: {space.share:.0%} used, {size(space.free)} free{_time_left(state, space)}"
    evidence = f"{size(space.used)} of {size(space.used + space.free)} used; red above {state.red:.0%}"
    return _finding(facts, "W-disk", severity, folder, summary, evidence)


def _finding(facts: WatchFacts, code: str, severity: Severity, folder: str, summary: str, evidence: str) -> Finding:
    return finding(facts, code, Found(severity=severity, subject=folder, summary=summary, evidence=(evidence,)))


def _time_left(state: DiskState, space: Space) -> str:
    rate = state.rate
    if rate <= 0:
        return ""
    return f", full in {duration(space.free / rate)} at the present rate of {size(rate * 3600)} an hour"


def _fallen(state: DiskState, space: Space, folder: str) -> Finding:
    colour = "yellow" if state.level == YELLOW else "green"
    summary = f"disk is {colour} again: {space.share:.0%} used, {size(space.free)} free"
    return Finding(code="W-disk", severity=Severity.INFO, subject=folder, summary=summary, evidence=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A run's checkpoints: how many there are, the newest whole one's size and step, and what is still to come."""

    present: int
    bytes: int
    is_adapter: bool
    step: int
    max_steps: int | None
    save_steps: int | None
    settings: Settings

    @property
    def limit(self) -> int | None:
        """save_total_limit, and the best one that is kept besides; None: nothing is deleted."""
        limit = self.settings.whole("save_total_limit")
        return limit + self.settings.is_on("load_best_model_at_end") if limit else None

    @property
    def left(self) -> int | None:
        """How many are still to be written; None where that is not known."""
        if not self.max_steps or not self.save_steps:
            return None
        return max(0, self.max_steps - self.step) // self.save_steps

    @property
    def growth(self) -> int:
        """How many more there will be at once: the oldest is deleted after the newest is written."""
        room = max(0, self.limit + 1 - self.present) if self.limit else None
        known = [number for number in (room, self.left) if number is not None]
        return min(known, default=0)


def judge_saved(
    told: frozenset[str], saved: Saved, space: Space | None, folder: str, facts: WatchFacts
) -> tuple[frozenset[str], tuple[Finding, ...]]:
    """What is wrong with the checkpoints, each told once while it lasts."""
    checks = (
        _not_deleted(saved, folder, facts),
        _too_large(saved, folder, facts),
        _no_room(saved, space, folder, facts),
    )
    found = [each for each in checks if each]
    return frozenset(each.code for each in found), tuple(each for each in found if each.code not in told)


def _not_deleted(saved: Saved, folder: str, facts: WatchFacts) -> Finding | None:
    if not saved.limit or saved.present <= saved.limit + 1:
        return None
    summary = f"{saved.present} checkpoints, where {saved.limit} should be kept: old ones are not deleted"
    evidence = f"save_total_limit is {saved.settings.whole('save_total_limit')} in training_args.bin"
    return _finding(facts, "W-checkpoints", Severity.WARNING, folder, summary, evidence)


def _too_large(saved: Saved, folder: str, facts: WatchFacts) -> Finding | None:
    if not saved.is_adapter or saved.bytes <= facts.disk.adapter_bytes:
        return None
    summary = f"the checkpoint at step {saved.step} takes {size(saved.bytes)}"
    return _finding(facts, "W-checkpoint-size", Severity.WARNING, folder, summary, "it has an adapter_config.json")


def _no_room(saved: Saved, space: Space | None, folder: str, facts: WatchFacts) -> Finding | None:
    need = saved.growth * saved.bytes
    if space is None or need <= space.free:
        return None
    fitting = space.free // saved.bytes
    at = f", at step {saved.step + (fitting + 1) * saved.save_steps}" if saved.save_steps else ""
    summary = f"{saved.growth} more checkpoints need {size(need)}, {size(space.free)} are free: the disk fills{at}"
    evidence = f"the checkpoint at step {saved.step} takes {size(saved.bytes)}"
    return _finding(facts, "W-disk-eta", Severity.ERROR, folder, summary, evidence)
