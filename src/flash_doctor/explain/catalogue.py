"""A complaint of the catalogue on its own, as an explanation without a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model.explanation import Explanation
from flash_doctor.system.commands import advice, with_names

if TYPE_CHECKING:
    from flash_doctor.facts.complaints import Complaint


def described(complaint: Complaint) -> Explanation:
    """What the catalogue knows of a complaint; where a log would name something stands what is meant."""
    return Explanation(
        code=complaint.id,
        family=complaint.family,
        title=with_names(complaint.title),
        cause=with_names(complaint.cause),
        evidence=(),
        lines=(),
        remedies=(advice(with_names(complaint.advice), *map(with_names, complaint.commands)),),
        confidence=complaint.confidence,
        tell_apart=complaint.tell_apart,
        sources=(str(complaint.source), *complaint.threads),
    )
