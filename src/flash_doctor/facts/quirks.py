"""Files that are not what their name says, bitsandbytes' CUDA versions, what torch needs of the standard library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from packaging.version import Version

from flash_doctor.facts.kinds import NAME, SPLIT, Versions
from flash_doctor.facts.loading import Source, TableSection


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

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.first > self.last:
            yield "last", f"{self.last} is older than first"


@dataclass(frozen=True, slots=True, kw_only=True)
class BitsAndBytes:
    """CUDA versions of a release's libraries; `falls_back`: an older one of the same major version will do."""

    since: Annotated[Version, NAME]
    cuda: Versions
    falls_back: bool = False
    source: Source

    def serves(self, cuda: Version) -> bool:
        minor = Version(f"{cuda.major}.{cuda.minor}")
        return minor in self.cuda or (
            self.falls_back and any(known.major == cuda.major and known <= minor for known in self.cuda)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """quirks.toml; `torch_needs` are the modules of the standard library that importing torch loads."""

    wheels: Annotated[tuple[FaultyWheel, ...], TableSection("wheel")]
    bitsandbytes: Annotated[Mapping[Version, BitsAndBytes], TableSection("bitsandbytes")]
    torch_needs: Annotated[frozenset[str], SPLIT, TableSection("standard_library", column="modules")]

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
