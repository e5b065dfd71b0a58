"""One record against the rules and limits: what is newly wrong, told once while it lasts."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from flash_doctor.model import Finding, Severity
from flash_doctor.rules.engine import Found, Observed, tell
from flash_doctor.rules.explains import TABLE
from flash_doctor.watch.findings import listed, plain, worded
from flash_doctor.watch.rules import SERIES_RULES
from flash_doctor.watch.series import Series, ToldFinding, absorb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts.watch import MetricLimit, WatchFacts
    from flash_doctor.watch.records import LogRecord


_WORDS = {"above": "above", "below": "below", "equal": "exactly"}
_SHOWN = 5


def crossed_limits(series: Series, record: LogRecord, facts: WatchFacts) -> Iterator[Observed]:
    """A finding for each limit that the newest value of a metric of this record crosses."""
    for limit in facts.limits:
        if facts.rules[limit.code].trainer in ("any", series.trainer) and _in_force(limit, series):
            for metric, value in record.metrics.items():
                if limit.crossed(value) and _is_named(metric, limit.metrics):
                    yield from _judged(limit, metric, series, facts)


def _in_force(limit: MetricLimit, series: Series) -> bool:
    early = series.epoch is not None and series.epoch < 1
    return series.step >= limit.after and (early or not limit.first_epoch)


def _is_named(metric: str, patterns: tuple[str, ...]) -> bool:
    return metric in patterns or any("*" in pattern and fnmatchcase(metric, pattern) for pattern in patterns)


def _judged(limit: MetricLimit, metric: str, series: Series, facts: WatchFacts) -> Iterator[Observed]:
    values = series.window(metric, limit.window)
    beyond = sum(map(limit.crossed, values))
    if beyond < limit.count:
        return
    where = " and ".join(f"{_WORDS[relation]} {plain(number)}" for relation, number in limit.numbers.items())
    often = "" if limit.window == 1 else f" at {beyond} of the last {len(values)} logs"
    summary = f"is {plain(values[-1])}: {where}{often}"
    shown = values[-_SHOWN:]
    evidence = f"last values: {listed(shown)}" if len(shown) > 1 else record_line(series, metric)
    found = Found(severity=limit.severity, subject=metric, summary=summary, evidence=(evidence,))
    yield tell(limit.code, worded(facts, limit.code, found))


def record_line(series: Series, metric: str) -> str:
    return f"values before: {listed(series.before(metric, _SHOWN)) or 'none'}"


QUIET = 20  # values of a metric in a row that must be well before the same is told of it again
_ONCE_A_RUN = frozenset({"W-loss-flat"})  # looked for too seldom to say that it was well in between
_WEIGHT = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}


def judge(series: Series, record: LogRecord, facts: WatchFacts) -> tuple[Series, tuple[Finding, ...]]:
    """The series with the record in it, and what is newly wrong: a finding is told once while it lasts."""
    series = absorb(series, record, facts.memory)
    found = [told for told in _found(series, record, facts) if _applies(told.finding, series, facts)]
    return _tell(series, record, [told.finding for told in TABLE.explained(found)])


def _found(series: Series, record: LogRecord, facts: WatchFacts) -> Iterator[Observed]:
    for rule in SERIES_RULES:
        yield from rule.apply(None, series=series, record=record, facts=facts).told
    yield from crossed_limits(series, record, facts)


def _applies(finding: Finding, series: Series, facts: WatchFacts) -> bool:
    return facts.rules[finding.code].trainer in ("any", series.trainer)


def _tell(series: Series, record: LogRecord, found: list[Finding]) -> tuple[Series, tuple[Finding, ...]]:
    """Only what is new or worse than what was told of the same metric."""
    told = {key: entry for key, was in series.told.items() if (entry := _aged(was, key, record)).well < QUIET}
    new = []
    for fault in sorted(found, key=lambda fault: -_WEIGHT[fault.severity]):
        key = (fault.code, fault.subject)
        before = told[key].severity if key in told else None
        if before is None or _WEIGHT[fault.severity] > _WEIGHT[before]:
            new.append(fault)
        worst = max(filter(None, (fault.severity, before)), key=_WEIGHT.__getitem__)
        told[key] = ToldFinding(severity=worst, well=0)
    return replace(series, told=told), tuple(new)


def _aged(told: ToldFinding, key: tuple[str, str], record: LogRecord) -> ToldFinding:
    code, metric = key
    return replace(told, well=told.well + 1) if metric in record.metrics and code not in _ONCE_A_RUN else told
