"""judge(series, record, facts) -> (series, findings): is the run healthy? Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.model import Finding, Severity
from flash_doctor.preflight.watch.limits import crossed_limits
from flash_doctor.preflight.watch.rules import RULES
from flash_doctor.preflight.watch.series import Series, Told, absorb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts.watch import WatchFacts
    from flash_doctor.preflight.watch.records import Record

QUIET = 20  # values of a metric in a row that must be well before the same is told of it again
_ONCE_A_RUN = frozenset({"W-loss-flat"})  # looked for too seldom to say that it was well in between
_WEIGHT = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}


def judge(series: Series, record: Record, facts: WatchFacts) -> tuple[Series, tuple[Finding, ...]]:
    """The series with the record in it, and what is newly wrong: a finding is told once while it lasts."""
    series = absorb(series, record, facts.memory)
    found = [finding for finding in _found(series, record, facts) if _applies(finding, series, facts)]
    return _tell(series, record, _without_consequences(found))


def _found(series: Series, record: Record, facts: WatchFacts) -> Iterator[Finding]:
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


def _tell(series: Series, record: Record, found: list[Finding]) -> tuple[Series, tuple[Finding, ...]]:
    """Only what is new or worse than what was told of the same metric."""
    told = {key: entry for key, was in series.told.items() if (entry := _aged(was, key, record)).well < QUIET}
    new = []
    for finding in sorted(found, key=lambda finding: -_WEIGHT[finding.severity]):
        key = (finding.code, finding.subject)
        before = told[key].severity if key in told else None
        if before is None or _WEIGHT[finding.severity] > _WEIGHT[before]:
            new.append(finding)
        worst = max(filter(None, (finding.severity, before)), key=_WEIGHT.__getitem__)
        told[key] = Told(severity=worst, well=0)
    return replace(series, told=told), tuple(new)


def _aged(told: Told, key: tuple[str, str], record: Record) -> Told:
    code, metric = key
    return replace(told, well=told.well + 1) if metric in record.metrics and code not in _ONCE_A_RUN else told
