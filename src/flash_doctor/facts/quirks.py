"""Files that are not what their name says, bitsandbytes' CUDA versions, what torch needs of the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.facts.loading import Row, Source, Table

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyWheel:
    """flash-attn wheels under `url`, of the releases `first` to `last`, whose name says `torch` and `named_abi`.

    `named_abi` None: either; `certain`: the binary cannot load on the torch that the name says.
    """

    url: str
    first: Version
    last: Version
    torch: Version
    named_abi: bool | None
    certain: bool
    why: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class BitsAndBytes:
    """CUDA versions of a release's libraries; `falls_back`: an older one of the same major version will do."""

    since: Version
    cuda: tuple[Version, ...]
    falls_back: bool
    source: Source

    def serves(self, cuda: Version) -> bool:
        minor = Version(f"{cuda.major}.{cuda.minor}")
        return minor in self.cuda or (
            self.falls_back and any(known.major == cuda.major and known <= minor for known in self.cuda)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """quirks.toml; `torch_needs` are the modules of the standard library that importing torch loads."""

    wheels: tuple[FaultyWheel, ...]
    bitsandbytes: Mapping[Version, BitsAndBytes]
    torch_needs: frozenset[str]

    def faulty_wheel(self, url: str, version: Version, torch: Version, named_abi: bool | None) -> FaultyWheel | None:
        """What is known against a wheel from that address whose name says `torch` (2.6) and `named_abi`."""
        for row in self.wheels:
            fits = row.first <= version <= row.last and row.torch == torch
            if fits and url.startswith(row.url) and row.named_abi in (None, named_abi):
                return row
        return None

    def bitsandbytes_libraries(self, version: Version) -> BitsAndBytes | None:
        """What that release brings; None for one older than those known."""
        older = [row for row in self.bitsandbytes.values() if row.since <= version]
        return max(older, key=lambda row: row.since, default=None)


def load(path: Path) -> Quirks:
    """Quirks from quirks.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    quirks = Quirks(
        wheels=tuple(map(_wheel, table.rows("wheel"))),
        bitsandbytes={row.since: row for row in map(_bitsandbytes, table.rows("bitsandbytes"))},
        torch_needs=frozenset(name for row in table.rows("standard_library") for name in row.text("modules").split()),
    )
    table.finish()
    return quirks


def _wheel(row: Row) -> FaultyWheel:
    first, last = row.version("first"), row.version("last")
    if first > last:
        row.fault("last", f"{last} is older than first")
    return FaultyWheel(
        url=row.text("url"),
        first=first,
        last=last,
        torch=row.version("torch"),
        named_abi=row.flag("named_abi") if "named_abi" in row.fields else None,
        certain=row.flag("certain"),
        why=row.text("why"),
        source=row.source,
    )


def _bitsandbytes(row: Row) -> BitsAndBytes:
    return BitsAndBytes(
        since=row.name_version,
        cuda=row.versions("cuda"),
        falls_back=row.flag("falls_back", default=False),
        source=row.source,
    )
