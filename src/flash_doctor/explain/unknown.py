"""The lines to look at where no cause is known: those that say that something failed, the last ones first of all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flash_doctor.explain.cleaning import Seen, clean_line, shown
from flash_doctor.explain.reading import Excerpt
from flash_doctor.explain.sighting import Sighting, is_command
from flash_doctor.model.explanation import LogLine
from flash_doctor.system.linear import Pattern

if TYPE_CHECKING:
    from flash_doctor.explain.crowd import Crowd
    from flash_doctor.facts.complaints import Complaint, Complaints, Question


_SHOWN = 8
# the end of a traceback, or a line that a program begins with its word for failure
_FAILURE = Pattern(
    r"(?m)^(?:[\w.]{1,80}(?:Error|Exception|Interrupt|Exit|Timeout|Failure)\b(?:: |:?$)"
    r"|\w{0,30}:?\s?(?:ERROR|FATAL|FAILED)\b"
    r"|(?:error|fatal(?: error)?)(?:\[[\w-]{1,40}\])?: |[^\s:]{1,200}:\d{1,7}(?::\d{1,5})?: (?:fatal )?error: "
    r"|Traceback \(most recent|[^\n]{0,80}\b(?:Killed|core dumped|Segmentation fault)\b)",
    memory=1 << 18,
)
_LOOKED_AT = 200  # lines at once


def failing(crowd: Crowd) -> set[int]:
    """The last lines of a crowd that say that something failed."""
    found: set[int] = set()
    for end in range(len(crowd.lines), 0, -_LOOKED_AT):
        first = max(0, end - _LOOKED_AT)
        text = "\n".join(crowd.lines[first:end]).encode("utf-8", "replace")
        found |= {first + text.count(b"\n", 0, place) for place in _FAILURE.places(text)}
        if len(found) >= _SHOWN:
            break
    return set(sorted(found)[-_SHOWN:])


class Failures:
    """The last lines that say that something failed, each once."""

    def __init__(self) -> None:
        self._lines: dict[int, Seen] = {}  # by the number, in order
        self._last = ""

    def take(self, excerpt: Excerpt) -> None:
        """Look at one line."""
        line = excerpt.line
        if line != self._last and _FAILURE.begins(line.encode("utf-8", "replace")):
            self._lines[excerpt.number], self._last = excerpt.seen, line
            self._forget()

    def _forget(self) -> None:
        while len(self._lines) > _SHOWN:
            del self._lines[min(self._lines)]

    def lines(self) -> tuple[LogLine, ...]:
        """The last of them, by their number."""
        return tuple(LogLine(number=number, text=shown(line)) for number, line in sorted(self._lines.items()))


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
