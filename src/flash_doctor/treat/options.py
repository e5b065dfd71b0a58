"""How a treatment is to be carried out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.fetch import Sources
from flash_doctor.install.pip import Pip
from flash_doctor.install.uv import Uv
from flash_doctor.model.proof import Level
from flash_doctor.resolve.sources.index import find_uv
from flash_doctor.system.paths import cache_folder, data_folder
from flash_doctor.system.private import settle_cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_doctor.install.interface import Installer

MIRROR = "FLASH_DOCTOR_MIRROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
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
