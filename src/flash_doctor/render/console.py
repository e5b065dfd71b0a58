"""Styled lines to text for a stream: colour, width and wrapping. The only door to rich."""

from __future__ import annotations

import io
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from flash_doctor.render.text import Style
from flash_doctor.system.people import MASK
from flash_doctor.system.redact import Hide, Redacted, passes, redact, within_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TextIO

    from flash_doctor.render.text import Line

# The keys are values of text.Style.
_COLOURS = {
    "plain": "",
    "good": "bold green",
    "warn": "bold yellow",
    "bad": "bold red",
    "dim": "dim",
    "strong": "bold",
    "command": "cyan",
}
MIN_WIDTH = 20
MAX_WIDTH = 120  # longer rows are not read but searched


def to_text(lines: Iterable[Line], stream: TextIO | None, *, width: int | None = None) -> Redacted:
    """The lines as `stream` can show them: colours only on a terminal that wants them (NO_COLOR, TERM=dumb).

    Secrets and people are masked before a line is broken into rows.

    `width` is in columns; without it COLUMNS or the terminal's own, else 80.
    """
    columns = min(max(MIN_WIDTH, width or shutil.get_terminal_size().columns), MAX_WIDTH)
    shown = io.StringIO()  # rich writes here, not to the stream: it would end the process on a broken pipe
    terminal = True if stream and stream.isatty() else None
    console = Console(file=shown, force_terminal=terminal, width=columns, height=25, highlight=False)
    told = list(lines)
    inside = within_keys(["".join(span.text for span in line.spans) for line in told])
    rows = [row for line, hidden in zip(told, inside, strict=True) for row in _rows(line, console, columns, hidden)]
    console.print(Text("\n").join(rows), soft_wrap=True)
    return Redacted(shown.getvalue())


def _rows(line: Line, console: Console, columns: int, hidden: bool) -> Iterator[Text]:
    """The line in rows of at most `columns` cells; a verbatim one stays whole, since it is there to be copied."""
    body = Text(MASK) if hidden else _masked(line)
    room = max(MIN_WIDTH // 2, columns - max(len(line.first), len(line.rest)))
    wrapped = [body] if line.verbatim or not body else body.wrap(console, room, overflow="fold")
    for index, row in enumerate(wrapped):
        row.rstrip()
        yield Text(line.rest if index else line.first).append_text(row)


def _masked(line: Line) -> Text:
    """The spans of a line, masked as one text: what says that a value is secret may stand in another span."""
    body = Text()
    for span in line.spans:
        body.append(span.text, _COLOURS[span.style.value])
    hide = Hide.COMMAND if any(span.style is Style.COMMAND for span in line.spans) else Hide.PEOPLE
    for changes in passes(body.plain, hide):
        for start, stop, instead in reversed(changes):
            begin = body[start : start + 1]
            begin.plain = instead
            body = body[:start] + begin + body[stop:]
    return body


@contextmanager
def progress(stream: TextIO, what: str, *, in_bytes: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, told by what is done and the whole (None: not known); nothing on any other stream."""
    from rich import progress as bars

    columns: list[bars.ProgressColumn] = [bars.TextColumn("{task.description}"), bars.BarColumn()]
    columns += [bars.DownloadColumn(), bars.TransferSpeedColumn()] if in_bytes else [bars.MofNCompleteColumn()]
    console = Console(file=stream)
    with bars.Progress(*columns, bars.TimeElapsedColumn(), console=console, transient=True) as shown:
        task = shown.add_task(redact(what).replace("[", r"\["), total=None)
        yield lambda done, whole: shown.update(task, completed=done, total=whole)
