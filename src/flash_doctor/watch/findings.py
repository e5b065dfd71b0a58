"""Findings of a watched run in words: the rule's healthy range and meaning as evidence, its action as remedy.

`@rule` registers a rule on the series: a function of the series, its newest record and the facts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from flash_doctor.model import Remedy
from flash_doctor.rules.engine import Found, Registry, Rule, tell

if TYPE_CHECKING:
    from flash_doctor.facts.watch import WatchFacts
    from flash_doctor.model import Finding

F = TypeVar("F", bound=Callable[..., Iterable[Found]])


@dataclass(frozen=True, kw_only=True)
class SeriesRule(Rule):
    """A rule of `watch`; its words, and the trainers that it is for, stand in watch.toml."""

    def worded(self, found: Any, given: Mapping[str, Any]) -> Found:
        return worded(given["facts"], self.code, found)


RULES: Registry[SeriesRule] = Registry("flash_doctor.watch")


def rule(code: str) -> Callable[[F], F]:
    """Register a rule; they are asked in their order."""

    def register(function: F) -> F:
        RULES.add(SeriesRule(code=code, function=function))
        return function

    return register


def worded(facts: WatchFacts, code: str, found: Found) -> Found:
    """With what the facts say about the code."""
    text = facts.rules[code]
    evidence = (*found.evidence, f"healthy: {text.healthy}", text.meaning)
    return replace(found, evidence=evidence, remedy=Remedy(text=text.action))


def finding(facts: WatchFacts, code: str, found: Found) -> Finding:
    """What is wrong beside the series: with a disk, a file or a folder."""
    return tell(code, worded(facts, code, found)).finding


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
