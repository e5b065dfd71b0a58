"""Complaints found in the excerpts of a log: one sighting for each that differs, with its count and first lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flash_doctor.explain.cleaning import Seen
from flash_doctor.explain.reading import Excerpt
from flash_doctor.explain.symbols import MissingSymbol, find_symbol
from flash_doctor.facts.complaints import Complaint
from flash_doctor.system.linear import Pattern

if TYPE_CHECKING:
    from flash_doctor.explain.matcher import Hit, Matcher
    from flash_doctor.facts.complaints import Complaints
    from flash_doctor.system.linear import Work

_KEPT_LINES = 3
_SIGHTINGS_AT_MOST = 200
# a command that a build prints before it runs it is no complaint, whatever its options are called
_COMMAND = Pattern(
    r"(?:\[\d+/\d+\] )?(?:\S{0,300}/)?[\w-]{0,30}"
    r"(?:gcc|g\+\+|cc|c\+\+|nvcc|clang|clang\+\+|cl|ninja|cmake)(?:\.exe)? +[-/]"
)
_REMEMBERED = 5_000  # lines and shapes, as a number each
_SETTLED = 8  # lines of one shape with the same complaint: from then on its pattern alone is looked for


@dataclass
class Sighting:
    """One complaint in one log: `groups` is what its pattern named, `symbol` the symbol that is missing."""

    complaint: Complaint
    groups: dict[str, str]
    first: Excerpt
    symbol: MissingSymbol | None = None
    asked: bool = False  # told from the words of a question, not from a message
    lines: dict[Seen, int] = field(default_factory=dict)
    count: int = 0

    def seen(self, excerpt: Excerpt) -> None:
        self.count += 1
        if len(self.lines) < _KEPT_LINES:
            self.lines.setdefault(excerpt.seen, excerpt.number)


class Sightings:
    """What was found so far, in the order of the log."""

    def __init__(self, complaints: Complaints, matcher: Matcher) -> None:
        self._symbol, self._matcher = complaints.by_id["undefined-symbol"], matcher
        self._known: dict[int, Sighting] = {}  # by the line
        self._shapes = _Shapes()
        self.found: dict[tuple[str, ...], Sighting] = {}

    def take(self, excerpt: Excerpt) -> bool:
        """Look at one excerpt; whether a complaint was found in it."""
        same = self._known.get(hash(excerpt.raw)) or self._shapes.settled(excerpt, self._matcher.work)
        if same:
            same.count += 1
            return True
        if not excerpt.line or is_command(excerpt.line):
            return False
        found = self._match(excerpt)
        if found:
            self._keep(excerpt, *found)
        return found is not None

    def _keep(self, excerpt: Excerpt, hit: Hit | None, symbol: MissingSymbol | None) -> None:
        complaint, groups = (hit.complaint, _groups(excerpt, hit)) if hit else (self._symbol, {})
        key = (complaint.id, *(symbol.name if symbol else groups.get(name, "") for name in ("", *sorted(groups))))
        if key not in self.found and len(self.found) >= _SIGHTINGS_AT_MOST:
            return
        sighting = self.found.get(key) or Sighting(complaint, groups, excerpt.settle(), symbol)
        self.found[key] = sighting
        sighting.seen(excerpt)
        if len(self._known) < _REMEMBERED:
            self._known[hash(excerpt.raw)] = sighting
        if hit and not groups and not symbol:
            self._shapes.note(excerpt, sighting, hit.pattern)

    def _match(self, excerpt: Excerpt) -> tuple[Hit | None, MissingSymbol | None] | None:
        """The most special complaint that begins in the excerpt's line; a missing symbol is computed, not listed."""
        flow = excerpt.flow.encode("utf-8", "replace")
        around, length = b"", len(excerpt.line.encode("utf-8", "replace"))
        symbol = find_symbol(flow, length)
        for hit in self._matcher.hits(flow.lower(), length):
            if symbol and hit.complaint.rank <= self._symbol.rank:
                break
            around = around or excerpt.around.encode("utf-8", "replace").lower()
            if self._matcher.fits(hit.complaint, around):
                return hit, symbol
        return (None, symbol) if symbol else None

    def told(self) -> list[Sighting]:
        """What was found; a symbol without its name only where none has one: it is the headline of another line."""
        named = any(sighting.symbol and sighting.symbol.name for sighting in self.found.values())
        return [
            sighting
            for sighting in self.found.values()
            if not (named and sighting.symbol is not None and not sighting.symbol.name)
        ]


class _Shapes:
    """Shapes of lines in which the same complaint was found again and again: its pattern alone is looked for there."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Sighting, Pattern, int]] = {}

    def note(self, excerpt: Excerpt, sighting: Sighting, pattern: Pattern) -> None:
        known, same, count = self._seen.get(excerpt.shape, (sighting, pattern, 0))
        if known is not sighting or same is not pattern:
            self._seen.pop(excerpt.shape, None)
        elif count or len(self._seen) < _REMEMBERED:
            self._seen[excerpt.shape] = sighting, pattern, count + 1

    def settled(self, excerpt: Excerpt, work: Work) -> Sighting | None:
        """The complaint of the excerpt, if its shape is settled and the pattern is found in it."""
        sighting, pattern, count = self._seen.get(excerpt.shape, (None, None, 0))
        settled = count >= _SETTLED and pattern and pattern.search(excerpt.raw.lower(), work)
        return sighting if settled else None


def _groups(excerpt: Excerpt, hit: Hit) -> dict[str, str]:
    """What the pattern's groups caught, as the log writes it."""
    flow = excerpt.flow.encode("utf-8", "replace") if hit.found.spans else b""
    caught = {name: flow[slice(*span)].decode("utf-8", "replace") for name, span in hit.found.spans.items()}
    return {name: text for name, text in caught.items() if text}


def is_command(line: str) -> bool:
    """Whether the line is a compiler's call that a build prints."""
    return _COMMAND.begins(line.encode("utf-8", "replace"))
