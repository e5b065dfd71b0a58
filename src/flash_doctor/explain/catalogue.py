"""A complaint of the catalogue on its own, as an explanation without a log."""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING

from flash_doctor.model.explanation import Explanation
from flash_doctor.model.report import Remedy

if TYPE_CHECKING:
    from flash_doctor.facts.complaints import Complaint


def described(complaint: Complaint) -> Explanation:
    """What the catalogue knows of a complaint; where a log would name something stands what is meant."""
    return Explanation(
        code=complaint.id,
        family=complaint.family,
        title=_general(complaint.title),
        cause=_general(complaint.cause),
        evidence=(),
        lines=(),
        remedies=(Remedy(text=_general(complaint.advice), commands=tuple(map(_general, complaint.commands))),),
        confidence=complaint.confidence,
        tell_apart=complaint.tell_apart,
        sources=(str(complaint.source), *complaint.threads),
    )


def _general(text: str) -> str:
    names = {name for _, name, _, _ in Formatter().parse(text) if name}
    return text.format_map({name: f"<{name.replace('_', ' ')}>" for name in names}) if names else text
