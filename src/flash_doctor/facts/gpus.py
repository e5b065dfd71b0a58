"""What each compute capability is, which FlashAttention runs on it, and whose GPU code it executes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.facts.loading import Row, Source, Table
from flash_doctor.model import Capability, FlashKind

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("datacenter", "workstation", "consumer", "jetson")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKind:
    """One compute capability.

    `nvcc` and `nvcc_last`: first and (None: still) last CUDA that compiles for it; `flash`: generations of
    FlashAttention that run there; `fa2_from`: first FA2 release whose sources know it (None: the first);
    `own_code`: it takes no other chip's SASS (Tegra); `products`: class -> product names.
    """

    capability: Capability
    arch: str
    nvcc: Version
    nvcc_last: Version | None
    flash: frozenset[FlashKind]
    fa2_from: Version | None
    own_code: bool
    note: str
    products: Mapping[str, tuple[str, ...]]
    source: Source

    def supports(self, kind: FlashKind) -> bool:
        return kind in self.flash


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashWheel:
    """GPU code in a publisher's flash-attn 2 wheels from `first` to `last`, for these CUDA builds (empty: all)."""

    publisher: str
    first: Version
    last: Version
    cuda: tuple[Version, ...]
    sass: tuple[Capability, ...]
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKinds:
    """gpus.toml."""

    kinds: Mapping[Capability, GpuKind]
    flash_wheels: tuple[FlashWheel, ...]

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


def load(path: Path) -> GpuKinds:
    """GpuKinds from gpus.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    products = {row.name: _products(row) for row in table.rows("product")}
    kinds = {kind.capability: kind for kind in (_kind(row, products) for row in table.rows("capability"))}
    wheels = tuple(_wheel(row) for row in table.rows("flash_wheel"))
    for name in products.keys() - {str(capability) for capability in kinds}:
        table.fault(f"product.{name}", "name", "is no compute capability of [capability]")
    for number, wheel in enumerate(wheels, 1):
        for capability in set(wheel.sass) - kinds.keys():
            table.fault(f"flash_wheel.{number}", "sass", f"{capability} is no compute capability of [capability]")
    seen: set[str] = set()
    for name, classes in products.items():
        for product in (product for named in classes.values() for product in named):
            if product in seen:
                table.fault(f"product.{name}", "name", f"{product!r} is listed twice")
            seen.add(product)
    table.finish()
    return GpuKinds(kinds=kinds, flash_wheels=wheels)


def _products(row: Row) -> dict[str, tuple[str, ...]]:
    return {name: row.words(name) for name in CLASSES if name in row.fields}


def _kind(row: Row, products: Mapping[str, Mapping[str, tuple[str, ...]]]) -> GpuKind:
    if row.name not in products:
        row.fault("name", "[product] names no product of it")
    return GpuKind(
        capability=row.name_capability,
        arch=row.text("arch"),
        nvcc=row.version("nvcc"),
        nvcc_last=row.optional_version("nvcc_last"),
        flash=frozenset(filter(None, (_flash_kind(row, word) for word in row.words("flash")))),
        fa2_from=row.optional_version("fa2_from"),
        own_code=row.flag("own_code", default=False),
        note=row.text("note", default=""),
        products=products.get(row.name, {}),
        source=row.source,
    )


def _flash_kind(row: Row, word: str) -> FlashKind | None:
    if word not in FlashKind.__members__:
        row.fault("flash", f"{word!r} is no generation of FlashAttention")
        return None
    return FlashKind[word]


def _wheel(row: Row) -> FlashWheel:
    first, last = row.version("first"), row.version("last")
    if first > last:
        row.fault("last", f"{last} is older than first")
    return FlashWheel(
        publisher=row.text("publisher"),
        first=first,
        last=last,
        cuda=row.versions("cuda"),
        sass=row.capabilities("sass"),
        source=row.source,
    )
