"""What a treatment tells people and asks them; the command line has one with a terminal, tests have their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.facts import Facts
from flash_doctor.install.fetch import Sources
from flash_doctor.install.installers import Pip, Uv
from flash_doctor.model.proof import Level
from flash_doctor.resolve.index_query import Lookup
from flash_doctor.resolve.sources.uv_index import find_uv
from flash_doctor.system.paths import cache_folder, data_folder
from flash_doctor.system.private import settle_cache
from flash_doctor.system.process import Runner

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flash_doctor.install.installers import Installer
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


MIRROR = "FLASH_DOCTOR_MIRROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixOptions:
    """What the user chose.

    `level`: how far the proof goes (STATIC: nothing is run). `first_seen`: whether a file without a published hash
    may be used: True, False, or None to ask. `require_kernel`: without a kernel that ran, the old state comes back.
    """

    installer: str = ""
    system: bool = False
    level: Level = Level.KERNEL
    require_kernel: bool = False
    first_seen: bool | None = None
    device: str = "cuda"
    timeout: float = 900.0
    sources: Sources = field(default_factory=lambda: default_sources())
    data: Path = field(default_factory=lambda: data_folder(os.environ))


def default_sources(folders: tuple[Path, ...] = (), *, network: bool = True) -> Sources:
    """The doctor's cache and the mirror of the environment."""
    mirror = os.environ.get(MIRROR) or None
    named, (cache, refused) = cache_folder(os.environ), settle_cache(os.environ)
    return Sources(
        cache=cache,
        shared=named if refused else None,
        refused=refused,
        folders=folders,
        mirror=mirror if network else None,
        network=network,
    )


def _uv() -> Installer:
    program = find_uv()
    if program is None:
        message = "uv was asked for and is not installed"
        raise BadInput(message, advice="Install it, or take the other one: --installer pip")
    return Uv(program=program)


INSTALLERS: dict[str, Callable[[], Installer]] = {"uv": _uv, "pip": Pip}


def choose_installer(name: str) -> Installer:
    """The installer of that name; without one uv where it is there, else pip."""
    return INSTALLERS[name or ("uv" if find_uv() else "pip")]()


_ADVICE = "Give the files in a folder (--wheelhouse DIR), or make the bundle again: `flash-doctor bundle DIR`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What starts processes, what is known, what the user chose, and the way to the user.

    `lookup` makes whoever asks a package index (None: nobody is there).
    """

    runner: Runner
    facts: Facts
    options: FixOptions
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
