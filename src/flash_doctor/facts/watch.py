"""watch.toml: healthy ranges of a training run, when they are left, what that means and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from flash_doctor.facts.kinds import NAME, Checked
from flash_doctor.facts.loading import Source, TableSection
from flash_doctor.model import Severity

FILE = "preflight/watch.toml"
TRAINERS = frozenset({"any", "sft", "grpo", "ebft", "preference"})
_RELATIONS = ("above", "below", "equal")

_POSITIVE = Checked(lambda value: value > 0, "must be above 0, not {!r}")
Count = Annotated[int, _POSITIVE]
Amount = Annotated[float, _POSITIVE]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRule:
    """One code of `doctor watch`: the trainers it is for, its healthy range in words, its meaning, what to do."""

    code: Annotated[str, NAME]
    trainer: Annotated[str, Checked(TRAINERS.__contains__, f"is none of {', '.join(sorted(TRAINERS))}")]
    healthy: str
    meaning: str
    action: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricLimit:
    """`count` of the last `window` values of a metric are beyond a number: `above`, `below` or `equal` to it.

    `metrics` are names, `*` standing for anything; `after` is a step; `first_epoch`: only before epoch 1.
    """

    code: str
    metrics: tuple[str, ...]
    above: float | None
    below: float | None
    equal: float | None
    count: int
    window: int
    after: int = 0
    first_epoch: bool = False
    severity: Severity
    source: Source

    def faults(self) -> Iterator[tuple[str, str]]:
        if len(self.numbers) != 1:
            yield "above", f"must have one of {', '.join(_RELATIONS)}"
        if not 1 <= self.count <= self.window:
            yield "count", "must lie between 1 and window"

    @property
    def numbers(self) -> Mapping[str, float]:
        """The relation (above, below, equal) and its number; a sound row has one."""
        given = zip(_RELATIONS, (self.above, self.below, self.equal), strict=True)
        return {relation: number for relation, number in given if number is not None}

    def crossed(self, value: float) -> bool:
        """Whether one value is beyond the limit; NaN and infinities are another disease."""
        if not math.isfinite(value):
            return False
        if self.above is not None:
            return value > self.above
        return value < self.below if self.below is not None else value == self.equal


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeNumbers:
    """A loss of `warning` or `error` times the median of `window` logs (at least `least`), in robust deviations."""

    window: Count
    least: Count
    warning: Amount
    error: Amount
    deviations: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatNumbers:
    """A fall below `fall` by half a standard error, below `certain` by two; looked for from `steps` on.

    It is taken from the first `first` logs and from the first third to the newest third, after `every` logs and
    each time that they have doubled.
    """

    steps: Count
    every: Count
    first: Count
    fall: Amount
    certain: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class OverfitNumbers:
    """Evaluations that rise in a row, by this share in all."""

    rises: Count
    least: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class RateNumbers:
    """Logs in a row with a learning rate of 0, or without change under a falling schedule."""

    zero: Count
    constant: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingNumbers:
    """In the first `steps` of fp16, fewer than `logs` overflows of grad_norm in a row are expected."""

    steps: Count
    logs: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNumbers:
    """Growth of GPU memory (a share) over each `every` steps, that many times in a row."""

    every: Count
    growth: Amount
    in_a_row: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class KlNumbers:
    """The median of the `newest` logs over that of the `within` before, once above `floor`."""

    growth: Amount
    newest: Count
    within: Count
    floor: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendNumbers:
    """A rise or fall over `logs` logs in `blocks` blocks; `length`: share of the longest completion allowed."""

    logs: Count
    blocks: Count
    length: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskNumbers:
    """Used shares at which a disk is yellow and red, `slack` before it counts as recovered; bytes of an adapter."""

    yellow: Amount
    red: Amount
    slack: Amount
    adapter_bytes: Count

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.yellow >= self.red:
            yield "yellow", "must be below red"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchFacts:
    """watch.toml."""

    rules: Annotated[Mapping[str, WatchRule], TableSection("rule")]
    limits: Annotated[tuple[MetricLimit, ...], TableSection("limit")]
    spike: Annotated[SpikeNumbers, TableSection("numbers.spike")]
    flat: Annotated[FlatNumbers, TableSection("numbers.flat")]
    overfit: Annotated[OverfitNumbers, TableSection("numbers.overfit")]
    rate: Annotated[RateNumbers, TableSection("numbers.rate")]
    scaling: Annotated[ScalingNumbers, TableSection("numbers.scaling")]
    memory: Annotated[MemoryNumbers, TableSection("numbers.memory")]
    kl: Annotated[KlNumbers, TableSection("numbers.kl")]
    trend: Annotated[TrendNumbers, TableSection("numbers.trend")]
    disk: Annotated[DiskNumbers, TableSection("numbers.disk")]

    def faults(self) -> Iterator[tuple[str, str, str]]:
        for number, limit in enumerate(self.limits, 1):
            if limit.code not in self.rules:
                yield f"limit.{number}", "code", "no such rule"
