"""The rules that are data: so many of the last values of a metric beyond a limit."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from flash_doctor.model import Finding, Severity
from flash_doctor.watch.findings import finding, listed, plain
from flash_doctor.watch.rules import RULES
from flash_doctor.watch.series import Series, ToldFinding, absorb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts.watch import Limit, WatchFacts
    from flash_doctor.watch.records import LogRecord


_WORDS = {"above": "above", "below": "below", "equal": "exactly"}
_SHOWN = 5


def crossed_limits(series: Series, record: LogRecord, facts: WatchFacts) -> Iterator[Finding]:
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
    where = " and ".join(f"{_WORDS[relation]} {plain(number)}" for relation, number in limit.numbers.items())
    often = "" if limit.window == 1 else f" at {beyond} of the last {len(values)} logs"
    summary = f"is {plain(values[-1])}: {where}{often}"
    shown = values[-_SHOWN:]
    evidence = f"last values: {listed(shown)}" if len(shown) > 1 else record_line(series, metric)
    yield finding(facts, limit.code, limit.severity, metric, summary, evidence)


def record_line(series: Series, metric: str) -> str:
    return f"values before: {listed(series.before(metric, _SHOWN)) or 'none'}"


QUIET = 20  # values of a metric in a row that must be well before the same is told of it again
_ONCE_A_RUN = frozenset({"W-loss-flat"})  # looked for too seldom to say that it was well in between
_WEIGHT = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}


def judge(series: Series, record: LogRecord, facts: WatchFacts) -> tuple[Series, tuple[Finding, ...]]:
    """The series with the record in it, and what is newly wrong: a finding is told once while it lasts."""
    series = absorb(series, record, facts.memory)
    found = [finding for finding in _found(series, record, facts) if _applies(finding, series, facts)]
    return _tell(series, record, _without_consequences(found))


def _found(series: Series, record: LogRecord, facts: WatchFacts) -> Iterator[Finding]:
    for rule in RULES:
        yield from rule(series, record, facts)
    yield from crossed_limits(series, record, facts)


def _applies(finding: Finding, series: Series, facts: WatchFacts) -> bool:
    return facts.rules[finding.code].trainer in ("any", series.trainer)


def _without_consequences(found: list[Finding]) -> list[Finding]:
    """NaN makes the loss that is shown 0.0: one disease, told once."""
    lost = any(finding.code == "W-nan" for finding in found)
    return [
        finding
        for finding in found
        if not (lost and finding.code in {"W-loss-zero", "W-loss-collapse", "W-pref-saturated"})
    ]


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
