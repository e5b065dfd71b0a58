"""Findings of a watched run in words: the rule's healthy range and meaning as evidence, its action as remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flash_doctor.model import Finding, Remedy, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.facts.watch import WatchFacts


def finding(facts: WatchFacts, code: str, severity: Severity, subject: str, summary: str, *evidence: str) -> Finding:
    """What is wrong with `subject`, told with what the facts say about the code."""
    rule = facts.rules[code]
    return Finding(
        code=code,
        severity=severity,
        subject=subject,
        summary=summary,
        evidence=(*evidence, f"healthy: {rule.healthy}", rule.meaning),
        remedy=Remedy(text=rule.action),
    )


def plain(value: float) -> str:
    """A number as people write it."""
    if math.isnan(value):
        return "NaN"
    return f"{value:.4g}"


def listed(values: Iterable[float]) -> str:
    return ", ".join(plain(value) for value in values)


def size(count: float) -> str:
    """Bytes in a unit that keeps the number short."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def duration(seconds: float) -> str:
    """Seconds in the two units that matter."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days"
