"""What each compute capability is, which FlashAttention runs on it, and whose GPU code it executes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

from packaging.version import Version

from flash_doctor.facts.kinds import NAME, Capabilities, Parsed, Versions, Wrong
from flash_doctor.facts.loading import Source, TableSection
from flash_doctor.model import Capability, FlashKind


def _generation(text: str) -> FlashKind:
    if text not in FlashKind.__members__:
        message = f"{text!r} is no generation of FlashAttention"
        raise Wrong(message)
    return FlashKind[text]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKind:
    """One compute capability.

    `nvcc` and `nvcc_last`: first and (None: still) last CUDA that compiles for it; `flash`: generations of
    FlashAttention that run there; `fa2_from`: first FA2 release whose sources know it (None: the first);
    `own_code`: it takes no other chip's SASS (Tegra).
    """

    capability: Annotated[Capability, NAME]
    arch: str
    nvcc: Version
    nvcc_last: Version | None
    flash: frozenset[Annotated[FlashKind, Parsed(_generation)]]
    fa2_from: Version | None
    own_code: bool = False
    note: str = ""
    source: Source

    def supports(self, kind: FlashKind) -> bool:
        return kind in self.flash


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """The names of the GPUs of one compute capability, by class."""

    datacenter: tuple[str, ...] = ()
    workstation: tuple[str, ...] = ()
    consumer: tuple[str, ...] = ()
    jetson: tuple[str, ...] = ()

    @property
    def names(self) -> Iterator[str]:
        return chain(self.datacenter, self.workstation, self.consumer, self.jetson)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashWheel:
    """GPU code in a publisher's flash-attn 2 wheels from `first` to `last`, for these CUDA builds (empty: all)."""

    publisher: str
    first: Version
    last: Version
    cuda: Versions = ()
    sass: Capabilities = ()
    source: Source

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.first > self.last:
            yield "last", f"{self.last} is older than first"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKinds:
    """gpus.toml."""

    kinds: Annotated[Mapping[Capability, GpuKind], TableSection("capability")]
    products: Annotated[Mapping[Capability, Products], TableSection("product")]
    flash_wheels: Annotated[tuple[FlashWheel, ...], TableSection("flash_wheel")]

    def faults(self) -> Iterator[tuple[str, str, str]]:
        for known in self.kinds.keys() - self.products.keys():
            yield f"capability.{known}", "name", "[product] names no product of it"
        for number, wheel in enumerate(self.flash_wheels, 1):
            for known in set(wheel.sass) - self.kinds.keys():
                yield f"flash_wheel.{number}", "sass", f"{known} is no compute capability of [capability]"
        seen = Counter(name for products in self.products.values() for name in products.names)
        for known, products in self.products.items():
            if known not in self.kinds:
                yield f"product.{known}", "name", "is no compute capability of [capability]"
            for name in products.names:
                if seen[name] > 1:
                    yield f"product.{known}", "name", f"{name!r} is listed twice"

    def of(self, capability: Capability) -> GpuKind | None:
        return self.kinds.get(capability)

    @property
    def newest(self) -> Capability:
        return max(self.kinds)

    def oldest_for(self, kind: FlashKind) -> Capability:
        """The lowest compute capability on which that FlashAttention runs."""
        return min(capability for capability, known in self.kinds.items() if known.supports(kind))

    def runs_sass(self, code: Capability, gpu: Capability) -> bool:
        """Whether plain SASS for `code` runs on `gpu`: same major version, not a higher minor, no foreign Tegra."""
        own = any(kind is not None and kind.own_code for kind in (self.of(code), self.of(gpu)))
        return code == gpu or (not own and code.major == gpu.major and code.minor <= gpu.minor)

    def covers(self, sass: tuple[Capability, ...], ptx: tuple[Capability, ...], gpu: Capability) -> bool:
        """Whether a binary with that code runs on `gpu`: by SASS, or by compiling PTX that is not newer."""
        return any(self.runs_sass(code, gpu) for code in sass) or any(code <= gpu for code in ptx)

    def flash_sass(self, publisher: str, version: Version, cuda: Version) -> tuple[Capability, ...] | None:
        """GPU code in a publisher's flash-attn 2 wheel; None when it is not known."""
        build = Version(f"{cuda.major}.{cuda.minor}")
        for row in self.flash_wheels:
            fits = row.publisher == publisher and row.first <= version <= row.last
            if fits and (not row.cuda or build in row.cuda):
                return row.sass
        return None
