"""The rules that are data: so many of the last values of a metric beyond a limit."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from flash_doctor.preflight.watch.wording import finding, listed, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts.watch import Limit, WatchFacts
    from flash_doctor.model import Finding
    from flash_doctor.preflight.watch.records import Record
    from flash_doctor.preflight.watch.series import Series

_WORDS = {"above": "above", "below": "below", "equal": "exactly"}
_SHOWN = 5


def crossed_limits(series: Series, record: Record, facts: WatchFacts) -> Iterator[Finding]:
    """A finding for each limit that the newest value of a metric of this record crosses."""
    for limit in facts.limits:
        if facts.rules[limit.code].trainer in ("any", series.trainer) and _in_force(limit, series):
            for metric, value in record.metrics.items():
                if limit.crossed(value) and _is_named(metric, limit.metrics):
                    yield from _judged(limit, metric, series, facts)


def _in_force(limit: Limit, series: Series) -> bool:
    early = series.epoch is not None and series.epoch < 1
    return series.step >= limit.after and (early or not limit.first_epoch)


def _is_named(metric: str, patterns: tuple[str, ...]) -> bool:
    return metric in patterns or any("*" in pattern and fnmatchcase(metric, pattern) for pattern in patterns)


def _judged(limit: Limit, metric: str, series: Series, facts: WatchFacts) -> Iterator[Finding]:
    values = series.window(metric, limit.window)
    beyond = sum(map(limit.crossed, values))
    if beyond < limit.count:
        return
    where = f"{_WORDS[limit.relation]} {plain(limit.value)}"
    often = "" if limit.window == 1 else f" at {beyond} of the last {len(values)} logs"
    summary = f"is {plain(values[-1])}: {where}{often}"
    shown = values[-_SHOWN:]
    evidence = f"last values: {listed(shown)}" if len(shown) > 1 else record_line(series, metric)
    yield finding(facts, limit.code, limit.severity, metric, summary, evidence)


def record_line(series: Series, metric: str) -> str:
    return f"values before: {listed(series.before(metric, _SHOWN)) or 'none'}"
