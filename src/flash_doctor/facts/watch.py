"""watch.toml: healthy ranges of a training run, when they are left, what that means and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from flash_doctor.facts.loading import Row, Source, Table
from flash_doctor.model import Severity

if TYPE_CHECKING:
    from pathlib import Path

FILE = "preflight/watch.toml"
TRAINERS = frozenset({"any", "sft", "grpo", "ebft", "preference"})
_RELATIONS = ("above", "below", "equal")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRule:
    """One code of `doctor watch`: the trainers it is for, its healthy range in words, its meaning, what to do."""

    code: str
    trainer: str
    healthy: str
    meaning: str
    action: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """`count` of the last `window` values of a metric are `relation` (above, below, equal) to `value`.

    `metrics` are names, `*` standing for anything; `after` is a step; `first_epoch`: only before epoch 1.
    """

    code: str
    metrics: tuple[str, ...]
    relation: str
    value: float
    count: int
    window: int
    after: int
    first_epoch: bool
    severity: Severity
    source: Source

    def crossed(self, value: float) -> bool:
        """Whether one value is beyond the limit; NaN and infinities are another disease."""
        if not math.isfinite(value):
            return False
        if self.relation == "equal":
            return value == self.value
        return value > self.value if self.relation == "above" else value < self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeNumbers:
    """A loss of `warning` or `error` times the median of `window` logs (at least `least`), in robust deviations."""

    window: int
    least: int
    warning: float
    error: float
    deviations: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatNumbers:
    """A fall below `fall` by half a standard error, below `certain` by two; looked for from `steps` on.

    It is taken from the first `first` logs and from the first third to the newest third, after `every` logs and
    each time that they have doubled.
    """

    steps: int
    every: int
    first: int
    fall: float
    certain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OverfitNumbers:
    """Evaluations that rise in a row, by this share in all."""

    rises: int
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RateNumbers:
    """Logs in a row with a learning rate of 0, or without change under a falling schedule."""

    zero: int
    constant: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingNumbers:
    """In the first `steps` of fp16, fewer than `logs` overflows of grad_norm in a row are expected."""

    steps: int
    logs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNumbers:
    """Growth of GPU memory (a share) over each `every` steps, that many times in a row."""

    every: int
    growth: float
    in_a_row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KlNumbers:
    """The median of the `newest` logs over that of the `within` before, once above `floor`."""

    growth: float
    newest: int
    within: int
    floor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendNumbers:
    """A rise or fall over `logs` logs in `blocks` blocks; `length`: share of the longest completion allowed."""

    logs: int
    blocks: int
    length: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskNumbers:
    """Used shares at which a disk is yellow and red, `slack` before it counts as recovered; bytes of an adapter."""

    yellow: float
    red: float
    slack: float
    adapter_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchFacts:
    """watch.toml."""

    rules: Mapping[str, WatchRule]
    limits: tuple[Limit, ...]
    spike: SpikeNumbers
    flat: FlatNumbers
    overfit: OverfitNumbers
    rate: RateNumbers
    scaling: ScalingNumbers
    memory: MemoryNumbers
    kl: KlNumbers
    trend: TrendNumbers
    disk: DiskNumbers


NUMBERS: dict[str, Any] = {
    "spike": SpikeNumbers,
    "flat": FlatNumbers,
    "overfit": OverfitNumbers,
    "rate": RateNumbers,
    "scaling": ScalingNumbers,
    "memory": MemoryNumbers,
    "kl": KlNumbers,
    "trend": TrendNumbers,
    "disk": DiskNumbers,
}


def load(path: Path) -> WatchFacts:
    """Facts from watch.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    rules = {row.name: _rule(row) for row in table.rows("rule")}
    limits = tuple(_limit(row, rules) for row in table.rows("limit"))
    numbers = {row.name: _numbers(row) for row in table.rows("numbers")}
    for name in numbers.keys() ^ NUMBERS.keys():
        table.fault(f"numbers.{name}", "name", f"the numbers are {', '.join(NUMBERS)}")
    table.finish()
    return WatchFacts(rules=rules, limits=limits, **numbers)


def _rule(row: Row) -> WatchRule:
    if row.text("trainer") not in TRAINERS:
        row.fault("trainer", f"is none of {', '.join(sorted(TRAINERS))}")
    return WatchRule(
        code=row.name,
        trainer=row.text("trainer"),
        healthy=row.text("healthy"),
        meaning=row.text("meaning"),
        action=row.text("action"),
        source=row.source,
    )


def _limit(row: Row, rules: Mapping[str, WatchRule]) -> Limit:
    if row.text("code") not in rules:
        row.fault("code", "no such rule")
    given = [relation for relation in _RELATIONS if relation in row.fields]
    if len(given) != 1:
        row.fault("above", f"must have one of {', '.join(_RELATIONS)}")
    relation = given[0] if given else "above"
    count, window = row.number("count"), row.number("window")
    if not 1 <= count <= window:
        row.fault("count", "must lie between 1 and window")
    return Limit(
        code=row.text("code"),
        metrics=row.words("metrics"),
        relation=relation,
        value=row.real(relation),
        count=count,
        window=window,
        after=row.number("after") if "after" in row.fields else 0,
        first_epoch=row.flag("first_epoch", default=False),
        severity=row.parse("severity", row.text("severity"), severity, Severity.ERROR),
        source=row.source,
    )


def severity(text: str) -> Severity | None:
    """The severity of that name."""
    return next((member for member in Severity if member.value == text), None)


def _numbers(row: Row) -> Any:
    """The row as the dataclass of its name, each number of the type its field has."""
    kind = NUMBERS.get(row.name)
    wanted = {field.name: str(field.type) for field in fields(kind)} if kind else {}
    values = {key: row.number(key) if of == "int" else row.real(key) for key, of in wanted.items()}
    for key, value in values.items():
        if value <= 0:
            row.fault(key, f"must be above 0, not {value!r}")
    if "yellow" in values and values["yellow"] >= values["red"]:
        row.fault("yellow", "must be below red")
    return kind(**values) if kind else None
