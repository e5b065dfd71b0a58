"""What a treatment tells people and asks them; the command line has one with a terminal, tests have their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from flash_doctor.model.outcome import Sheet

    Tick = Callable[[int, int | None], None]


class Desk(Protocol):
    """Whoever stands between a treatment and its user."""

    def agree(self, sheet: Sheet) -> bool:
        """Whether this may be done."""
        ...

    def trust(self, url: str, sha256: str, size: int) -> bool:
        """Whether a file without a published hash may be used, now that its hash is known."""
        ...

    def note(self, text: str) -> None:
        """Something that happened, worth one line."""
        ...

    def working(self, what: str, unit: str = "") -> AbstractContextManager[Tick]:
        """A stretch of work; the callback takes what is done and the whole (None: not known). `unit` is B or ""."""
        ...
