"""The way from a treatment to the person at the terminal: questions and progress go to stderr."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.cli.errors import emit, say
from flash_doctor.errors import BadInput
from flash_doctor.system.redact import redact
from flash_doctor.system.url import public

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from flash_doctor.install.context import Tick
    from flash_doctor.model.outcome import Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalInteraction:
    """`yes`: agreed beforehand; `as_json`: stdout belongs to the document."""

    yes: bool
    as_json: bool

    def agree(self, sheet: Sheet) -> bool:
        """Show it, and ask.

        Raises:
            BadInput: there is nobody to ask.
        """
        from flash_doctor.render.console import to_text
        from flash_doctor.render.outcome import sheet_lines

        if self.as_json:
            if not self.yes:
                say(to_text(sheet_lines(sheet), sys.stderr))
        else:
            emit(to_text(sheet_lines(sheet), sys.stdout))
        return self.yes or _asked("Go ahead?")

    def trust(self, url: str, sha256: str, size: int) -> bool:
        """Ask a person; the word for everything (--yes) does not cover it."""
        say(redact(f"{public(url)}\n  {size} bytes, sha256 {sha256}\n  nobody publishes a hash to compare it with\n"))
        return not self.yes and _asked("Trust it, and hold this address to it from now on?")

    def note(self, text: str) -> None:
        from flash_doctor.cli.typed import typed
        from flash_doctor.render.text import clean

        say(redact(f"flash-doctor: {clean(typed(text))}\n"))

    @contextmanager
    def working(self, what: str, unit: str = "") -> Iterator[Tick]:
        if not _is_terminal(sys.stderr):
            yield _ignore
            return
        from flash_doctor.render.console import progress

        with progress(sys.stderr, what, in_bytes=unit == "B") as tick:
            yield tick


def _is_terminal(stream: TextIO | None) -> bool:
    return bool(stream and stream.isatty())


def _asked(question: str) -> bool:
    if not _is_terminal(sys.stdin):
        message = "there is no terminal to ask for your agreement"
        raise BadInput(message, advice="Say it beforehand: --yes (and look first: --dry-run)")
    say(redact(f"{question} [y/N] "))
    try:
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
    except OSError:  # the terminal is gone
        return False


def _ignore(done: int, whole: int | None) -> None:
    pass
