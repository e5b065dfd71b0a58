"""Which torch releases export which symbol: looked up in `wheel_matrix/abi/atlas.bin`, which is mapped, not loaded."""

from __future__ import annotations

import datetime
import mmap
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import and_
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from flash_doctor.abi.atlas_format import AtlasImage, digest
from flash_doctor.abi.built_for import BuiltFor, SymbolAge, built_for, plain_release
from flash_doctor.abi.demangle import is_torch
from flash_doctor.errors import BadFacts
from flash_doctor.system.paths import facts_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# A mangled name (also of a type info, vtable, guard, thunk) that begins in one of torch's own namespaces.
_IN_TORCH = re.compile(r"_Z(?:T[ISVTCJ]|G[VR]|T[hvc]\w*?_)?N[rVKRO]*(?:3c10|2at|5torch)")
# As part of a name that torch exports: at::Tensor in std::vector<at::Tensor>, pybind11::type_caster<at::Tensor>.
_MENTIONS_TORCH = re.compile(r"3c10|2at|5torch|6caffe2")


def in_torch_namespace(symbol: str) -> bool:
    """Whether the mangled name lies in the namespaces c10, at or torch."""
    return _IN_TORCH.match(symbol) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Where the atlas knows a release from: its wheel on the index, when that came out and when it was read."""

    version: Version
    wheel: str
    sha256: str
    released: datetime.date
    read: datetime.date
    names: int
    libraries: Mapping[str, int]


class Atlas:
    """Symbols of the x86_64 builds of torch on the package index, by release.

    Every answer is about those builds: a nightly, a vendor's build or another CUDA variant may differ (`covers`).
    """

    def __init__(self, image: AtlasImage, path: Path) -> None:
        self._image, self.path = image, path
        self._selected: dict[int, tuple[Version, ...]] = {}
        self._masks: dict[str, int] = {}
        try:
            self.releases = tuple(Version(release) for release in image.releases)
        except InvalidVersion as error:
            raise _unusable(path, str(error)) from error

    @classmethod
    def open(cls, path: Path | None = None) -> Atlas:
        """Map the shipped atlas, or the one at `path` with its `.toml` beside it.

        Raises:
            BadFacts: it is missing, damaged, or not the one that the text beside it describes. Damage in the
                body is met, with the same error, by the look-up that would have read it.
        """
        path = path or _shipped()
        try:
            provenance = path.with_suffix(".toml").read_bytes()
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise _unusable(path, str(error)) from error
        image = AtlasImage(data, path.name)
        if digest(provenance) != image.provenance:
            raise _unusable(path, f"it is not the one that {path.stem}.toml describes")
        return cls(image, path)

    def exported_by(self, symbol: str) -> tuple[Version, ...]:
        """The releases that export a symbol (mangled, without version), oldest first; empty where none does."""
        return self._select(self._mask(symbol))

    def releases_exporting_all(self, symbols: Iterable[str]) -> tuple[Version, ...] | None:
        """The releases that export every symbol of torch among `symbols`; None where none of them is torch's.

        Counted as torch's are the names that any release exports, and names in torch's namespaces even where none
        does. A name with a version (`memcpy@GLIBC_2.14`) is never torch's. Some releases export parts of the C++
        library along, so this is to be asked for files that link torch: to others the answer means nothing.
        """
        masks = [
            mask
            for symbol in symbols
            if "@" not in symbol and ((mask := self._mask(symbol)) or in_torch_namespace(symbol))
        ]
        return self._select(reduce(and_, masks)) if masks else None

    def explain_symbol(self, symbol: str) -> SymbolAge:
        """How old a symbol is, as far as the atlas knows."""
        found = self.exported_by(symbol)
        of_torch = is_torch(symbol) or bool(found and _MENTIONS_TORCH.search(symbol))
        return SymbolAge(symbol=symbol, of_torch=of_torch, exported_by=found, atlas=self.releases)

    def built_for(
        self, releases: Sequence[Version], *, installed: Version | None = None, on: datetime.date | None = None
    ) -> BuiltFor:
        """What some releases of this atlas mean for the torch that is installed, and for a day in a log."""
        released = self.released if on else None
        return built_for(releases, self.releases, installed=installed, on=on, released=released)

    def covers(self, version: Version) -> bool:
        """Whether the atlas was read from this release; a nightly or a vendor's build is outside of it."""
        return plain_release(version) in self.releases

    @cached_property
    def provenance(self) -> tuple[Release, ...]:
        """What each release was read from; parsed when first asked for."""
        return _read_provenance(self.path.with_suffix(".toml"))

    @property
    def released(self) -> dict[Version, datetime.date]:
        """The day each release came out on the index."""
        return {release.version: release.released for release in self.provenance}

    def _mask(self, symbol: str) -> int:
        """The releases that export it, as bits; each symbol is looked up once, since extensions want much the same."""
        if symbol not in self._masks:
            self._masks[symbol] = self._image.mask(symbol)
        return self._masks[symbol]

    def _select(self, mask: int) -> tuple[Version, ...]:
        """The releases of a mask; there are few distinct ones, so each is spelled out once."""
        if mask not in self._selected:
            self._selected[mask] = tuple(release for bit, release in enumerate(self.releases) if mask >> bit & 1)
        return self._selected[mask]


def _unusable(path: Path, why: str) -> BadFacts:
    return BadFacts(f"the atlas {path} cannot be used: {why}", advice="Install flash-doctor again.")


def _shipped() -> Path:
    return facts_folder(os.environ) / "abi" / "atlas.bin"


def _read_provenance(path: Path) -> tuple[Release, ...]:
    from flash_doctor.facts.loading import Table

    table = Table.read(path)
    libraries = {
        row.name: {library: row.number(library) for library in row.fields} for row in table.rows("names", sourced=False)
    }
    releases = tuple(
        Release(
            version=row.name_version,
            wheel=row.text("wheel"),
            sha256=row.text("sha256"),
            released=row.date("released"),
            read=row.date("read"),
            names=row.number("names"),
            libraries=libraries.get(row.name, {}),
        )
        for row in table.rows("release", sourced=False)
    )
    table.finish()
    return releases
