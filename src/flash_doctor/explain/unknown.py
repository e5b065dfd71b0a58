"""The lines to look at where no cause is known: those that say that something failed, the last ones first of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.explain.shown import Seen, shown
from flash_doctor.model.explanation import LogLine
from flash_doctor.system.linear import Pattern

if TYPE_CHECKING:
    from flash_doctor.explain.crowd import Crowd
    from flash_doctor.explain.reading import Excerpt

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
