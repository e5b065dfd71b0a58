"""What is remembered of one stream of log lines: bounded windows, never the whole run. Pure values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

from flash_doctor.model import Severity
from flash_doctor.watch.trainer_files import Settings

if TYPE_CHECKING:
    from flash_doctor.facts.watch import MemoryNumbers
    from flash_doctor.watch.records import LogRecord

WINDOW = 60  # values of each metric; the longest window of a rule is shorter
MOST_METRICS = 200
THIRD = 400  # losses kept of the run's beginning, and of its newest part
EVALUATIONS = 4
MEMORY = frozenset({"memory/max_allocated (GiB)", "memory/device_reserved (GiB)", "memory/max_alloc"})
_GRPO = ("completions/", "clip_ratio/", "sampling/", "rewards/")
_PREFERENCE = frozenset({"rewards/chosen", "logps/chosen", "rewards/accuracies"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One value of an eval loss, and the median training loss since the one before."""

    loss: float
    training: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTrend:
    """GPU memory at the last whole hundred of steps, and how often in a row it had grown by then."""

    step: int
    value: float
    grown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldFinding:
    """A finding that was told, and how many values of its metric were well since."""

    severity: Severity
    well: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The state of judging. `logs` counts training logs; `step` is theirs, or `logs` where none is known."""

    settings: Settings = field(default_factory=Settings)
    trainer: str = ""
    logs: int = 0
    step: int = 0
    epoch: float | None = None
    recent: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    steps: tuple[int, ...] = ()
    first: tuple[float, ...] = ()
    newest: tuple[float, ...] = ()
    since_evaluation: tuple[float, ...] = ()
    evaluations: Mapping[str, tuple[Evaluation, ...]] = field(default_factory=dict)
    warm: int = 0
    memory: Mapping[str, MemoryTrend] = field(default_factory=dict)
    told: Mapping[tuple[str, str], ToldFinding] = field(default_factory=dict)
    final: bool = False

    def window(self, metric: str, size: int) -> tuple[float, ...]:
        """The newest values of a metric, at most `size`."""
        return self.recent.get(metric, ())[-size:]

    def before(self, metric: str, size: int) -> tuple[float, ...]:
        """The values before the newest one."""
        return self.recent.get(metric, ())[:-1][-size:]


def is_training(record: LogRecord) -> bool:
    """Whether it is a line of training, not of an evaluation or of the end."""
    return not record.is_final and any(not name.startswith("eval_") for name in record.metrics)


def begins_anew(series: Series, record: LogRecord) -> bool:
    """Whether the line belongs to another run, or to this one resumed from an older checkpoint."""
    if not series.logs:
        return False
    if record.epoch is not None and series.epoch is not None:
        return record.epoch < series.epoch
    return record.step is not None and record.step < series.step


def absorb(series: Series, record: LogRecord, numbers: MemoryNumbers) -> Series:
    """The series with one more line in it."""
    if begins_anew(series, record):
        series = Series(settings=series.settings)
    series = replace(series, final=record.is_final, epoch=record.epoch if record.epoch is not None else series.epoch)
    if is_training(record):
        series = _marked(_trained(series, record), record, numbers)
    return _evaluated(series, record)


def _trained(series: Series, record: LogRecord) -> Series:
    logs = series.logs + 1
    step = record.step if record.step is not None else max(logs, series.step)
    recent = dict(series.recent)
    for name, value in record.metrics.items():
        if name in recent or len(recent) < MOST_METRICS:
            recent[name] = (*recent.get(name, ())[1 - WINDOW :], value)
    series = replace(
        series,
        trainer=_trainer(series.trainer, record),
        logs=logs,
        step=step,
        recent=recent,
        steps=(*series.steps[1 - WINDOW :], step),
        warm=logs if _warming(series, record) else series.warm,
    )
    loss = record.metrics.get("loss", math.nan)
    return _with_loss(series, loss) if math.isfinite(loss) else series


def _with_loss(series: Series, loss: float) -> Series:
    return replace(
        series,
        first=series.first if len(series.first) >= THIRD else (*series.first, loss),
        newest=(*series.newest[1 - THIRD :], loss),
        since_evaluation=(*series.since_evaluation[1 - THIRD :], loss),
    )


def _marked(series: Series, record: LogRecord, numbers: MemoryNumbers) -> Series:
    """GPU memory, noted each time that so many steps have gone by."""
    memory = dict(series.memory)
    for name in MEMORY & record.metrics.keys():
        value, mark = record.metrics[name], memory.get(name)
        if series.step >= (mark.step if mark else 0) + numbers.every:
            grew = mark is not None and value > mark.value * (1 + numbers.growth)
            memory[name] = MemoryTrend(step=series.step, value=value, grown=mark.grown + 1 if mark and grew else 0)
    return replace(series, memory=memory)


def _warming(series: Series, record: LogRecord) -> bool:
    """Whether the learning rate is still rising."""
    before = series.recent.get("learning_rate", ())
    rate = record.metrics.get("learning_rate")
    return rate is not None and (not before or rate > before[-1])


def _trainer(before: str, record: LogRecord) -> str:
    """Which kind of trainer logs such metrics; once it has shown itself it stays."""
    if before not in ("", "sft"):
        return before
    names = record.metrics.keys()
    if names & _PREFERENCE:
        return "preference"
    if "reward" in names or "frac_reward_zero_std" in names or any(name.startswith(_GRPO) for name in names):
        return "grpo"
    if any(name.startswith("ebft/") for name in names):
        return "ebft"
    return "sft" if "loss" in names else before


def evaluation_losses(record: LogRecord) -> dict[str, float]:
    return {name: value for name, value in record.metrics.items() if name.startswith("eval_") and name.endswith("loss")}


def _evaluated(series: Series, record: LogRecord) -> Series:
    losses = {name: loss for name, loss in evaluation_losses(record).items() if math.isfinite(loss)}
    if not losses:
        return series
    training = median(series.since_evaluation or series.newest or (math.nan,))
    evaluations = dict(series.evaluations)
    for name, loss in losses.items():
        if name in evaluations or len(evaluations) < MOST_METRICS:
            known = evaluations.get(name, ())
            evaluations[name] = (*known[1 - EVALUATIONS :], Evaluation(loss=loss, training=training))
    return replace(series, evaluations=evaluations, since_evaluation=())
