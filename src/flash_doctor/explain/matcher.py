"""The catalogue's patterns on a log, within an allowance of work that grows with the log and with nothing else.

A pattern is searched where its letters stand, and as long as there is an allowance. A text can be written that has the
letters of hundreds of patterns in every line; there each is still tried a few times in each megabyte, the one that is
seldom possible as well as the others. What was not searched for is remembered: what is said to have been counted is
then a lower bound.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.facts.complaints import Complaint
from flash_doctor.system.linear import Match, Pattern, Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.explain.crowd import Crowd, Piece
    from flash_doctor.facts.complaints import Complaints

AT_FIRST = 200_000_000  # steps: a fifth of a second
A_BYTE = 80  # steps that each byte of the log adds
SAVED = 1_000_000_000  # steps that a harmless beginning leaves to what follows
LINE = 50_000  # steps for what a line costs beside the searches
TRIES = 4  # of a pattern in each megabyte, however little is left
_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Hit:
    """A complaint, and which of its patterns was found where."""

    complaint: Complaint
    pattern: Pattern
    found: Match


class Matcher:
    """The patterns of one catalogue, on one log."""

    def __init__(self, complaints: Complaints, work: Work | None = None) -> None:
        self._patterns, self._owners = complaints.patterns, complaints.by_pattern
        self.work = work or Work()
        self._allowed, self._read = AT_FIRST, 0
        self._tried = Counter[int]()
        self._refused: set[int] = set()

    @property
    def uncounted(self) -> set[str]:
        """The complaints that may stand in lines in which they were not searched for."""
        return {self._owners[index].id for index in self._refused}

    def earn(self, size: int) -> None:
        """So many more bytes of the log were read."""
        self._read += size
        self._allowed = min(self._allowed + A_BYTE * size, self.work.steps + SAVED)

    def hits(self, text: bytes, length: int) -> Iterator[Hit]:
        """Complaints that begin in the first `length` bytes of a text, the highest rank first; each once."""
        self.work.steps += LINE
        done: Complaint | None = None
        for index in self._possible(text):
            if self._owners[index] is done:
                continue
            self._tried[index] += 1
            found = self._patterns[index].search(text, self.work)
            if found and found.start < length:
                done = self._owners[index]
                yield Hit(done, self._patterns[index], found)

    def sift(self, crowd: Crowd) -> set[int]:
        """The lines of a crowd in which a pattern may begin."""
        return {
            line
            for piece in crowd.pieces()
            for index in self._possible(piece.text)
            for line in self._located(index, piece)
            if line < len(crowd.lines)
        }

    def _located(self, index: int, piece: Piece) -> Iterator[int]:
        pattern, at = self._patterns[index], 0
        while at < piece.core:
            self._tried[index] += 1
            found = pattern.may_stand(piece.text, self.work, at)
            if found is None or found >= piece.core:
                return
            number, at, end = piece.line(found)
            # the first pass sees no counts: it may have found an end that lies many lines further
            if not pattern.counts or pattern.may_stand(piece.text, self.work, found, end) is not None:
                yield number

    def _possible(self, text: bytes) -> list[int]:
        """The patterns whose letters stand in the text: all, or those which are still to be tried."""
        indices = self._patterns.possible(text, self.work)
        if self.work.steps < self._allowed:
            return indices
        tries, tried = TRIES * (1 + self._read // _MEGABYTE), self._tried
        few = [index for index in indices if tried[index] < tries]
        self._refused.update(set(indices).difference(few))
        return few

    def fits(self, complaint: Complaint, around: bytes) -> bool:
        """Whether the surroundings (in small letters) allow the complaint."""
        if complaint.near and not complaint.near_any.stands(around, self.work):
            return False
        return not complaint.unless_any.stands(around, self.work)
