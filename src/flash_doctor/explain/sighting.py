"""Complaints found in the excerpts of a log: one sighting for each that differs, with its count and first lines."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flash_doctor.explain.reading import Excerpt
from flash_doctor.explain.symbols import MissingSymbol, find_symbol
from flash_doctor.facts.complaints import Complaint

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEPT_LINES = 3
_SIGHTINGS_AT_MOST = 200
# a command that a build prints before it runs it is no complaint, whatever its options are called
_COMMAND = re.compile(
    r"(?:\[\d+/\d+\] )?(?:\S{0,300}/)?[\w-]{0,30}"
    r"(?:gcc|g\+\+|cc|c\+\+|nvcc|clang|clang\+\+|cl|ninja|cmake)(?:\.exe)? +[-/]"
)
_REMEMBERED = 5_000


@dataclass
class Sighting:
    """One complaint in one log: `groups` is what its pattern named, `symbol` the symbol that is missing."""

    complaint: Complaint
    groups: dict[str, str]
    first: Excerpt
    symbol: MissingSymbol | None = None
    asked: bool = False  # told from the words of a question, not from a message
    lines: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def seen(self, excerpt: Excerpt) -> None:
        self.count += 1
        if len(self.lines) < _KEPT_LINES:
            self.lines.setdefault(excerpt.line, excerpt.number)


class Sightings:
    """What was found so far, in the order of the log."""

    def __init__(self, complaints: Iterable[Complaint]) -> None:
        self._complaints = sorted(complaints, key=lambda complaint: -complaint.rank)
        self._symbol = next(complaint for complaint in self._complaints if complaint.id == "undefined-symbol")
        self._known: dict[bytes, Sighting] = {}
        self.found: dict[tuple[str, ...], Sighting] = {}

    def take(self, excerpt: Excerpt) -> bool:
        """Look at one excerpt; whether a complaint was found in it."""
        if same := self._known.get(excerpt.raw):
            same.count += 1
            return True
        if not excerpt.line or is_command(excerpt.line):
            return False
        found = self._match(excerpt)
        if found:
            self._keep(excerpt, *found)
        return found is not None

    def _keep(
        self, excerpt: Excerpt, complaint: Complaint, groups: dict[str, str], symbol: MissingSymbol | None
    ) -> None:
        key = (complaint.id, *(symbol.name if symbol else groups.get(name, "") for name in ("", *sorted(groups))))
        if key not in self.found and len(self.found) >= _SIGHTINGS_AT_MOST:
            return
        sighting = self.found.get(key) or Sighting(complaint, groups, excerpt.settle(), symbol)
        self.found[key] = sighting
        sighting.seen(excerpt)
        if len(self._known) < _REMEMBERED:
            self._known[excerpt.raw] = sighting

    def _match(self, excerpt: Excerpt) -> tuple[Complaint, dict[str, str], MissingSymbol | None] | None:
        """The most special complaint that begins in the excerpt's line; a missing symbol is computed, not listed."""
        flow, around, length = small(excerpt.flow), "", len(excerpt.line)
        symbol = find_symbol(excerpt.flow, length)
        for complaint in self._complaints:
            if symbol and complaint.rank <= self._symbol.rank:
                break
            found = next((m for finder in complaint.finders if (m := finder.search(flow)) and m.start() < length), None)
            if found is None:
                continue
            around = around or small(excerpt.around)
            if fits(complaint, around):
                spans = {name: excerpt.flow[slice(*found.span(name))] for name in found.groupdict() if found[name]}
                return complaint, spans, symbol
        return (self._symbol, {}, symbol) if symbol else None

    def told(self) -> list[Sighting]:
        """What was found; a symbol without its name only where none has one: it is the headline of another line."""
        named = any(sighting.symbol and sighting.symbol.name for sighting in self.found.values())
        return [
            sighting
            for sighting in self.found.values()
            if not (named and sighting.symbol is not None and not sighting.symbol.name)
        ]


def is_command(line: str) -> bool:
    """Whether the line is a compiler's call that a build prints."""
    return _COMMAND.match(line) is not None


def fits(complaint: Complaint, around: str) -> bool:
    """Whether the surroundings (in small letters) allow the complaint."""
    if complaint.near_finder and not complaint.near_finder.search(around):
        return False
    return not (complaint.unless_finder and complaint.unless_finder.search(around))


def small(text: str) -> str:
    """ASCII letters made small, and nothing else: offsets stay."""
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
