"""Several complaints of one log as one story: the first cause first, what it explains folded under it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_doctor.facts.complaints import Complaints
    from flash_doctor.model.explanation import Explanation


def in_causal_order(explanations: Sequence[Explanation], complaints: Complaints) -> tuple[Explanation, ...]:
    """By the stage at which each goes wrong (a driver before a library), then by their place in the log."""
    merged = _merged(explanations)
    ordered = sorted(merged, key=lambda told: (complaints.by_id[told.code].stage, _place(told)))
    tops: list[Explanation] = []
    for told in ordered:
        cause = next((top for top in tops if _explains(top, told, complaints)), None)
        if cause is None:
            tops.append(told)
        else:
            tops[tops.index(cause)] = replace(cause, consequences=(*cause.consequences, told))
    return tuple(tops)


def _explains(cause: Explanation, told: Explanation, complaints: Complaints) -> bool:
    absorbed = complaints.by_id[cause.code].absorbs
    return told.family in absorbed or told.code in absorbed or (told.family == cause.family and told.code != cause.code)


def _place(told: Explanation) -> int:
    return min((line.number for line in told.lines), default=0)


def _merged(explanations: Sequence[Explanation]) -> list[Explanation]:
    """One explanation for each title: the same complaint from several files or ranks is one."""
    found: dict[tuple[str, str], Explanation] = {}
    for told in explanations:
        known = found.get((told.code, told.title))
        if known:
            evidence = tuple(dict.fromkeys((*known.evidence, *told.evidence)))
            told = replace(
                known,
                count=known.count + told.count,
                at_least=known.at_least or told.at_least,
                evidence=evidence,
                lines=(*known.lines, *told.lines),
            )
        found[told.code, told.title] = told
    return list(found.values())
