"""A short text without a message that is known: what its words speak of, said as a possibility and nothing more.

People paste a question ("does it run on aarch64?") as often as an error. Only such short texts are read by their words,
and only when no message, or none that says much, was found in them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flash_doctor.explain.cleaning import clean_line
from flash_doctor.explain.reading import Excerpt
from flash_doctor.explain.sighting import Sighting, is_command
from flash_doctor.system.linear import Pattern

if TYPE_CHECKING:
    from flash_doctor.facts.complaints import Complaint, Complaints, Question

LONGEST = 2048  # characters of a question; a log is longer
# what a program prints when all is well is no question
_REPORT = Pattern(
    r"(?m)^(?:successfully|collecting |requirement already|resolved \d|\{['\"]loss|epoch|no broken requirements)"
)
# nor is an exception that no pattern knows: to guess at it from its words would be to invent a cause
_EXCEPTION = Pattern(r"(?m)^Traceback \(most recent call last\)|^[\w.]+(?:Error|Exception): ")

# the lines of a list of packages say nothing of what is wrong; Python's own engine, on a text of bounded length
_LISTED = re.compile(r"(?m)^\s{0,20}[\w.-]{1,80}(?:==|\s{2,60}|\s?@\s)\S{1,300}\s{0,20}$")


def sight(text: str, complaints: Complaints) -> Sighting | None:
    """The complaint that the most special question is about; None for a long text, or one that asks nothing known."""
    if len(text) > LONGEST:
        return None
    lowered = _small(_LISTED.sub("", text))
    quoted = _REPORT.search(lowered) or _EXCEPTION.search(text.encode("utf-8", "replace"))
    if quoted or any(map(is_command, text.splitlines())):
        return None
    weights = {
        (name, question): question.weight(lowered)
        for name, complaint in complaints.by_id.items()
        for question in complaint.asked
    }
    best = max(weights, key=lambda asked: weights[asked], default=None)
    return _sighting(complaints.by_id[best[0]], best[1], text) if best and weights[best] > (0, 0) else None


def _sighting(complaint: Complaint, question: Question, text: str) -> Sighting:
    """At the first line that holds one of the question's terms."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if clean_line(line)]
    named = ((number, line) for number, line in lines if any(term.search(_small(line)) for term in question.terms))
    number, line = next(named, lines[0])
    raw = line.encode("utf-8", "replace")
    excerpt = Excerpt(number, raw, 0, len(raw)).settle()
    sighting = Sighting(complaint, {}, excerpt, asked=True)
    sighting.seen(excerpt)
    return sighting


def _small(text: str) -> bytes:
    return text.encode("utf-8", "replace").lower()
