"""The lines to look at where no cause is known: those that say that something failed, the last ones first of all."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from flash_doctor.model.explanation import LogLine
from flash_doctor.system.redact import log_line

if TYPE_CHECKING:
    from flash_doctor.explain.reading import Excerpt

_SHOWN = 8
_TEXT_LIMIT = 600
# the end of a traceback, or a line that a program begins with its word for failure
_FAILURE = re.compile(
    r"^(?:[\w.]{1,80}(?:Error|Exception|Interrupt|Exit|Timeout|Failure)\b(?:: |:?$)"
    r"|\w{0,30}:?\s?(?:ERROR|FATAL|FAILED)\b"
    r"|(?:error|fatal(?: error)?)(?:\[[\w-]{1,40}\])?: |[^\s:]{1,200}:\d{1,7}(?::\d{1,5})?: (?:fatal )?error: "
    r"|Traceback \(most recent|.{0,80}\b(?:Killed|core dumped|Segmentation fault)\b)"
)


class Failures:
    """The last lines that say that something failed, each once."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=_SHOWN)
        self._last = ""

    def take(self, excerpt: Excerpt) -> None:
        line = excerpt.line
        if line != self._last and _FAILURE.match(line):
            self._lines.append(LogLine(number=excerpt.number, text=log_line(line, _TEXT_LIMIT)))
            self._last = line

    def lines(self) -> tuple[LogLine, ...]:
        return tuple(self._lines)
