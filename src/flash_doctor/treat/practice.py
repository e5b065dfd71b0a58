"""Who treats, with what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flash_doctor.command import Runner
from flash_doctor.errors import NoPlanFound
from flash_doctor.facts import Facts
from flash_doctor.resolve.lookup import Lookup
from flash_doctor.treat.desk import Desk
from flash_doctor.treat.options import Options

_ADVICE = "Give the files in a folder (--wheelhouse DIR), or make the bundle again: `flash-doctor bundle DIR`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What starts processes, what is known, what the user chose, and the way to the user.

    `lookup` makes whoever asks a package index (None: nobody is there).
    """

    runner: Runner
    facts: Facts
    options: Options
    desk: Desk
    lookup: Callable[[], Lookup | None] = lambda: None

    def note_cache(self) -> None:
        """Say, once a command, that the cache that was named is not the one in use."""
        if refused := self.options.sources.refused:
            self.desk.note(refused)

    def asking(self, missing: str) -> Lookup:
        """Whoever asks an index.

        Raises:
            NoPlanFound: nobody may be asked; `missing` says what for.
        """
        network = self.options.sources.network
        found = self.lookup() if network else None
        if found is None:
            why = "neither uv nor pip is there to ask a package index" if network else "no network may be used"
            raise NoPlanFound(missing, evidence=(why,), advice=_ADVICE)
        return found
