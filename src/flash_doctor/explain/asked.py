"""A short text without a message that is known: what its words speak of, said as a possibility and nothing more.

People paste a question ("does it run on aarch64?") as often as an error. Only such short texts are read by their words,
only where they speak of trouble, and only when no message was found in them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flash_doctor.explain.cleaning import clean_line
from flash_doctor.explain.reading import Excerpt
from flash_doctor.explain.sighting import Sighting, is_command, small

if TYPE_CHECKING:
    from flash_doctor.facts.complaints import Complaint, Complaints

LONGEST = 2048  # characters of a question; a log is longer
_TROUBLE = re.compile(
    r"error|fail|\bnot?\b|n't\b|cannot|unable|wrong|problem|issue|break|broken|crash|stuck|hang|slow|forever|hours|"
    r"so long|\bbug\b|"
    r"\bwhich\b|conflict|mismatch|incompatib|unsupported|missing|\bwhy\b|\bhow\b|\?|\bany(?:one|body)?\b|please|request|"
    r"\bfalse\b|不|错|无法|失败|怎么|问题"
)
# what a program prints when all is well is no question
_REPORT = re.compile(
    r"(?m)^(?:successfully|collecting |requirement already|resolved \d|\{['\"]loss|epoch|no broken requirements)"
)

# nor is an exception that no pattern knows: to guess at it from its words would be to invent a cause
_EXCEPTION = re.compile(r"(?m)^Traceback \(most recent call last\)|^[\w.]+(?:Error|Exception): ")


def sight(text: str, complaints: Complaints) -> Sighting | None:
    """The complaint that most words speak of; None for a long text, or one without trouble."""
    lowered = small(text)
    talk = _TROUBLE.search(lowered) and not _REPORT.search(lowered) and not _EXCEPTION.search(text)
    if len(text) > LONGEST or not talk or any(map(is_command, text.splitlines())):
        return None
    scores = {complaint.id: _score(complaint, lowered) for complaint in complaints.by_id.values()}
    best = max(scores, key=lambda name: scores[name])
    return _sighting(complaints.by_id[best], text) if scores[best] else None


def _score(complaint: Complaint, lowered: str) -> int:
    """Two for each topic of its own that the text names, one for a shared one; less than three is too little.

    A complaint with a single topic (the name of one package) needs no more than that.
    """
    score = sum(2 if own else 1 for own, finder in complaint.topics if finder.search(lowered))
    return score if score >= min(3, 2 * len(complaint.topics)) else 0


def _sighting(complaint: Complaint, text: str) -> Sighting:
    """At the first line that names a topic."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if clean_line(line)]
    topics = [finder for _, finder in complaint.topics]
    named = ((number, line) for number, line in lines if any(topic.search(small(line)) for topic in topics))
    number, line = next(named, lines[0])
    raw = line.encode("utf-8", "replace")
    excerpt = Excerpt(number, raw, 0, len(raw)).settle()
    sighting = Sighting(complaint, {}, excerpt, asked=True)
    sighting.seen(excerpt)
    return sighting
