"""Packages beside torch and flash-attn, and what a build or a run needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from packaging.utils import NormalizedName
from packaging.version import Version

from flash_doctor.facts.kinds import NAME, Key, Share, Versions
from flash_doctor.facts.loading import Source, TableSection

LIMITS = ("disk_warning", "disk_error", "temp", "shm", "build_memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A package that belongs to one torch.

    `pinned`: its metadata names the torch it needs; `compiled`: it holds code built against torch;
    `record`: its files are compared with RECORD; `paired`: torch.toml lists its release for each torch.
    """

    name: Annotated[NormalizedName, NAME]
    pinned: bool = False
    compiled: bool = False
    record: bool = False
    paired: Annotated[bool, Key("pairs")] = False
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashWindow:
    """Which flash-attn a package accepts, in its releases beginning with `since`: first <= version < below.

    `fatal`: with any other it cannot be imported (otherwise it falls back to something slower);
    `bypass`: the environment variable that switches the test off, or nothing.
    """

    package: NormalizedName
    since: Version
    first: Version
    below: Version
    fatal: bool
    bypass: str = ""
    source: Source

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.first >= self.below:
            yield "below", f"{self.below} leaves no version"

    def admits(self, flash_attn: Version) -> bool:
        return self.first <= Version(flash_attn.public) < self.below


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCompiler:
    """The newest major version of each compiler that nvcc accepts; None where it is not known."""

    gcc: int
    clang: int | None
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLimit:
    """A threshold: `share` (of a disk, used) or `size` (bytes free or present), and why."""

    share: Share = 0.0
    size: Annotated[int, Key("bytes")] = 0
    why: str
    source: Source

    def faults(self) -> Iterator[tuple[str, str]]:
        if not self.share and not self.size:
            yield "bytes", "is missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """companions.toml."""

    packages: Annotated[Mapping[NormalizedName, Companion], TableSection("package")]
    torchao: Annotated[Mapping[Version, Versions], TableSection("torchao", column="torch")]
    flash_windows: Annotated[tuple[FlashWindow, ...], TableSection("flash_window")]
    compilers: Annotated[Mapping[Version, HostCompiler], TableSection("nvcc")]
    build_modules: Annotated[Mapping[NormalizedName, str], TableSection("build_modules", column="why")]
    limits: Annotated[Mapping[str, DiskLimit], TableSection("limit")]

    def faults(self) -> Iterator[tuple[str, str, str]]:
        for name in sorted({*LIMITS} ^ self.limits.keys()):
            yield f"limit.{name}", "name", f"the limits are {', '.join(LIMITS)}"
        windows = [f"{row.package} {row.since}" for row in self.flash_windows]
        for number, name in enumerate(windows):
            if name in windows[:number]:
                yield f"flash_window.{number + 1}", "name", f"{name} is listed twice"

    @property
    def recorded(self) -> frozenset[NormalizedName]:
        """Packages whose files are compared with RECORD."""
        return frozenset(name for name, package in self.packages.items() if package.record)

    def torch_for_torchao(self, torchao: Version) -> tuple[Version, ...]:
        """The torch minor versions (2.8) that a torchao release works with; empty when not known."""
        return self.torchao.get(Version(f"{torchao.major}.{torchao.minor}"), ())

    def flash_window(self, package: str, version: Version) -> FlashWindow | None:
        """The window of that release; None for a package without one or a release older than those known."""
        windows = [row for row in self.flash_windows if row.package == package and row.since <= version]
        return max(windows, key=lambda row: row.since, default=None)

    def host_compiler(self, cuda: Version) -> HostCompiler | None:
        """What nvcc of that CUDA accepts; None when it is not known."""
        return self.compilers.get(Version(f"{cuda.major}.{cuda.minor}"))
