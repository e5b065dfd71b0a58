"""The rules that are more than a limit: one function each, pure, over the series and its newest record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING

from flash_doctor.model import Finding, Severity
from flash_doctor.watch.findings import finding, listed, plain
from flash_doctor.watch.robust import blocks, distance, error_of_median, rising
from flash_doctor.watch.series import MEMORY, Series, evaluation_losses, is_training

if TYPE_CHECKING:
    from flash_doctor.facts.watch import WatchFacts
    from flash_doctor.watch.records import LogRecord

Found = Iterator[Finding]
_FALLING_SCHEDULES = frozenset({"linear", "cosine", "polynomial"})


def not_a_number(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """NaN or infinite loss, grad_norm or eval loss, or a loss of 0.0 that the Trainer's filter made of NaN."""
    watched = {name: record.metrics[name] for name in ("loss", "grad_norm") if name in record.metrics}
    for name, value in {**watched, **evaluation_losses(record)}.items():
        if math.isfinite(value) or (name == "grad_norm" and _scaling(series, record, facts)):
            continue
        hidden = name == "grad_norm" and watched.get("loss") == 0
        summary = f"is {plain(value)}" + (" while the loss is shown as 0.0" if hidden else "")
        evidence = [record.excerpt]
        if hidden:
            evidence.append("the Trainer's logging_nan_inf_filter leaves NaN out of the loss it shows")
        yield finding(facts, "W-nan", Severity.ERROR, name, summary, *evidence)


def _scaling(series: Series, record: LogRecord, facts: WatchFacts) -> bool:
    """Whether this is fp16's loss scaling finding its scale: a few overflows at the start are part of it."""
    loss = record.metrics.get("loss", 0.0)
    overflows = series.window("grad_norm", facts.scaling.logs)
    lasting = len(overflows) == facts.scaling.logs and not any(map(math.isfinite, overflows))
    return _finds_scale(series, facts) and not lasting and math.isfinite(loss) and loss != 0


def _finds_scale(series: Series, facts: WatchFacts) -> bool:
    """The first steps of fp16, some of which are skipped: the learning rate stays 0 meanwhile."""
    return series.settings.is_on("fp16") and series.step <= facts.scaling.steps


def spike(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """A loss far above the losses before it: by ratio, and by what these losses vary anyway."""
    numbers = facts.spike
    loss = record.metrics.get("loss", math.nan)
    before = [value for value in series.before("loss", numbers.window) if 0 < value < math.inf]
    if not is_training(record) or len(before) < numbers.least or not 0 < loss < math.inf:
        return
    times = loss / median(before)
    if times > numbers.warning and distance(loss, before) > numbers.deviations:
        severity = Severity.ERROR if times > numbers.error else Severity.WARNING
        summary = f"spikes to {plain(loss)}, {times:.1f} times its median of the last {len(before)} logs"
        yield finding(facts, "W-loss-spike", severity, "loss", summary, f"losses before: {listed(before[-5:])}")


def rise(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """A loss that climbs, however slowly, far above where it began: no single log of it is a spike."""
    numbers = facts.spike
    if "loss" not in record.metrics or len(series.newest) < 2 * numbers.least:
        return
    first, newest = series.first[: numbers.least], series.newest[-numbers.least :]
    start, now = median(first), median(newest)
    certain = now - start > 3 * math.hypot(error_of_median(first), error_of_median(newest))
    if start > 0 and now > numbers.warning * start and certain:
        severity = Severity.ERROR if now > numbers.error * start else Severity.WARNING
        summary = f"has risen to {plain(now)}, {now / start:.1f} times what it was at first: training diverges"
        evidence = f"medians of {numbers.least} logs each; it began at {plain(start)}"
        yield finding(facts, "W-loss-spike", severity, "loss", summary, evidence)


def flat(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """A loss that does not fall from the first logs, nor from the first third, to the newest third of the run.

    Looked at seldom: of many looks at noise one would see anything.
    """
    numbers = facts.flat
    third = min(len(series.newest) // 3, len(series.first))
    if "loss" not in record.metrics or not _due(series.logs, numbers.every) or series.step < numbers.steps:
        return
    if series.logs - series.warm < numbers.every * 2 // 3 or third < numbers.every // 4:
        return
    newest = series.newest[-third:]
    falls = [_fall(series.first[:size], newest) for size in (min(max(numbers.first, third // 2), third), third)]
    fall, error = falls[-1]
    if all(fall + error / 2 < numbers.fall for fall, error in falls) and fall + 2 * error < numbers.certain:
        start, now = median(series.first[:third]), median(newest)
        summary = f"has not fallen in {series.step} steps: {plain(start)} at first, {plain(now)} now"
        evidence = f"medians of {third} logs each, ± {2 * error:.1%}"
        yield finding(facts, "W-loss-flat", Severity.WARNING, "loss", summary, evidence)


def _due(logs: int, every: int) -> bool:
    """After `every` logs, and each time that they have doubled."""
    times, rest = divmod(logs, every)
    return not rest and times & (times - 1) == 0


def _fall(first: tuple[float, ...], newest: tuple[float, ...]) -> tuple[float, float]:
    """The share by which the median fell, and the standard error of that."""
    start = median(first)
    if start <= 0:
        return 1.0, 0.0
    return 1 - median(newest) / start, math.hypot(error_of_median(first), error_of_median(newest)) / start


def overfit(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """An eval loss that rises from evaluation to evaluation while the training loss falls."""
    numbers = facts.overfit
    for name in evaluation_losses(record):
        last = series.evaluations.get(name, ())[-numbers.rises - 1 :]
        if len(last) <= numbers.rises or last[0].loss <= 0:
            continue
        grown = last[-1].loss / last[0].loss - 1
        losses = [evaluation.loss for evaluation in last]
        if rising(losses) and grown >= numbers.least and last[-1].training < last[0].training:
            summary = f"rose at {numbers.rises} evaluations in a row, to {plain(last[-1].loss)}"
            training = f"training loss meanwhile: {plain(last[0].training)} to {plain(last[-1].training)}"
            yield finding(facts, "W-overfit", Severity.WARNING, name, summary, f"{name}: {listed(losses)}", training)


def learning_rate(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """A learning rate that is no number, stays 0, or does not move under a schedule that falls."""
    rates = series.window("learning_rate", facts.rate.constant)
    if "learning_rate" not in record.metrics or not rates:  # a line of the end is in no window
        return
    summary = ""
    if not math.isfinite(rates[-1]):
        summary = f"is {plain(rates[-1])}"
    elif len(rates) >= facts.rate.zero and not any(rates[-facts.rate.zero :]) and not _finds_scale(series, facts):
        summary = f"is 0 at {facts.rate.zero} logs in a row"
    elif _stuck(series, rates, facts):
        summary = f"has been {plain(rates[-1])} for {len(rates)} logs under a {_schedule(series)} schedule"
    if summary:
        yield finding(facts, "W-lr-flat", Severity.WARNING, "learning_rate", summary, record.excerpt)


def _schedule(series: Series) -> str:
    return series.settings.text("lr_scheduler_type")


def _stuck(series: Series, rates: tuple[float, ...], facts: WatchFacts) -> bool:
    """A twentieth of the run without any change: the slowest schedule has moved by then."""
    constant = facts.rate.constant
    if _schedule(series) not in _FALLING_SCHEDULES or len(rates) < constant or len(set(rates)) > 1:
        return False
    whole = series.settings.whole("max_steps") or 0
    return series.steps[-1] - series.steps[-constant] >= whole / 20 if whole > 0 else False


def no_evaluation(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """Evaluation is configured and the first epoch went by without."""
    if series.evaluations or not series.settings.evaluates or series.epoch is None or series.epoch < 1.05:
        return
    if is_training(record):
        strategy = series.settings.text("eval_strategy") or series.settings.text("evaluation_strategy")
        evidence = f"eval_strategy is {strategy}, eval_steps {series.settings.whole('eval_steps')}"
        yield finding(facts, "W-no-eval", Severity.WARNING, "eval_loss", "was not logged in the first epoch", evidence)


def memory_creep(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """GPU memory that grew over each of the last hundreds of steps."""
    numbers = facts.memory
    for name in sorted(MEMORY):
        marks = series.memory.get(name)
        if name in record.metrics and marks and marks.grown >= numbers.in_a_row:
            summary = f"grew by more than {numbers.growth:.0%} in each of {marks.grown} times {numbers.every} steps"
            evidence = f"now {plain(record.metrics[name])} GiB"
            yield finding(facts, "W-memory-creep", Severity.WARNING, name, summary, evidence)


def kl_growth(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """KL that has grown several times within a few logs, once it is above its healthy range."""
    numbers = facts.kl
    values = [value for value in series.window("kl", numbers.within + numbers.newest) if value > 0]
    before, newest = values[: -numbers.newest], values[-numbers.newest :]
    if "kl" not in record.metrics or len(before) < numbers.within or not median(newest) > numbers.floor:
        return
    times = median(newest) / median(before)
    if times > numbers.growth:
        summary = f"is {times:.1f} times its median of the {len(before)} logs before"
        evidence = f"before: {listed(before[-5:])}; now: {listed(newest)}"
        yield finding(facts, "W-grpo-kl", Severity.WARNING, "kl", summary, evidence)


def length(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """Completions that grow steadily up to the longest allowed."""
    name, most = "completions/mean_length", series.settings.whole("max_completion_length")
    values = series.window(name, facts.trend.logs)
    if name not in record.metrics or not most or len(values) < facts.trend.logs:
        return
    if values[-1] > facts.trend.length * most and rising(blocks(values, facts.trend.blocks)):
        summary = f"has risen over {len(values)} logs to {plain(values[-1])} of {most} tokens"
        evidence = f"medians: {listed(blocks(values, facts.trend.blocks))}"
        yield finding(facts, "W-grpo-length", Severity.WARNING, name, summary, evidence)


def alignment(series: Series, record: LogRecord, facts: WatchFacts) -> Found:
    """EBFT's alignment that falls steadily."""
    name = "ebft/alignment"
    values = series.window(name, facts.trend.logs)
    if name in record.metrics and len(values) >= facts.trend.logs:
        middles = blocks(values, facts.trend.blocks)
        if rising(middles[::-1]):
            summary = f"has fallen over {len(values)} logs to {plain(values[-1])}"
            yield finding(facts, "W-ebft", Severity.WARNING, name, summary, f"medians: {listed(middles)}")


RULES: tuple[Callable[[Series, LogRecord, WatchFacts], Found], ...] = (
    not_a_number,
    spike,
    rise,
    flat,
    overfit,
    learning_rate,
    no_evaluation,
    memory_creep,
    kl_growth,
    length,
    alignment,
)
