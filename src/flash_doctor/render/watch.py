"""Events of `doctor watch`: one line each, as text and as JSON."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from flash_doctor.model import Severity
from flash_doctor.model.watch import Moment
from flash_doctor.render.text import Line, Span, Style, span
from flash_doctor.system.codec import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.model.watch import WatchEvent
    from flash_doctor.render.document import Document

SCHEMA = "flash-doctor/watch/1"
_STYLES = {Severity.ERROR: Style.BAD, Severity.WARNING: Style.WARN, Severity.INFO: Style.DIM}
_WORDS = {Moment.STARTED: "start", Moment.RECOVERED: "better", Moment.ENDED: "end"}


def event_line(event: WatchEvent) -> Line:
    """Time, place in the run, what, how we know, and what to do: whole, however long, since one event is one line."""
    finding = event.finding
    style = Style.GOOD if event.moment is Moment.RECOVERED else _STYLES[finding.severity]
    spans = [
        span(f"{datetime.fromtimestamp(event.at):%H:%M:%S} ", Style.DIM),
        span(f"{_WORDS.get(event.moment, finding.severity.value):<7} ", style),
        *(span(f"{place} ") for place in _place(event)),
        span(f"{finding.code} ", style),
        span(f"{finding.subject} {finding.summary}", Style.STRONG),
    ]
    if finding.evidence:
        spans.append(span(f" ({'; '.join(finding.evidence)})", Style.DIM))
    if finding.remedy:
        spans += [Span(". Next: "), span(finding.remedy.text)]
    return Line(tuple(spans), verbatim=True)


def _place(event: WatchEvent) -> Iterator[str]:
    if event.step is not None:
        yield f"step {event.step}"
    if event.epoch is not None:
        yield f"epoch {event.epoch:.2f}"


def event_document(event: WatchEvent, exit_code: int | None) -> Document:
    """One object of the stream; the last one has the exit code, the others null."""
    body: Document = encode(event)
    return {
        "schema": SCHEMA,
        "time": datetime.fromtimestamp(event.at, timezone.utc).isoformat(),
        **body,
        "exit_code": exit_code,
    }
