"""Packages beside torch and flash-attn, and what a build or a run needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from flash_doctor.facts.loading import Row, Source, Table

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = ("disk_warning", "disk_error", "temp", "shm", "build_memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A package that belongs to one torch.

    `pinned`: its metadata names the torch it needs; `compiled`: it holds code built against torch;
    `record`: its files are compared with RECORD; `paired`: torch.toml lists its release for each torch.
    """

    name: NormalizedName
    pinned: bool
    compiled: bool
    record: bool
    paired: bool
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
    bypass: str
    source: Source

    def admits(self, flash_attn: Version) -> bool:
        return self.first <= Version(flash_attn.public) < self.below


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCompiler:
    """The newest major version of each compiler that nvcc accepts; None where it is not known."""

    gcc: int
    clang: int | None
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A threshold: `share` (of a disk, used) or `size` (bytes free or present), and why."""

    share: float
    size: int
    why: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """companions.toml."""

    packages: Mapping[NormalizedName, Companion]
    torchao: Mapping[Version, tuple[Version, ...]]
    flash_windows: tuple[FlashWindow, ...]
    compilers: Mapping[Version, HostCompiler]
    build_modules: Mapping[NormalizedName, str]
    limits: Mapping[str, Limit]

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


def load(path: Path) -> Companions:
    """Companions from companions.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    packages = {companion.name: companion for companion in map(_companion, table.rows("package"))}
    windows = tuple(map(_window, table.rows("flash_window")))
    companions = Companions(
        packages=packages,
        torchao={row.name_version: row.versions("torch") for row in table.rows("torchao")},
        flash_windows=windows,
        compilers={row.name_version: _compiler(row) for row in table.rows("nvcc")},
        build_modules={canonicalize_name(row.name): row.text("why") for row in table.rows("build_modules")},
        limits={row.name: _limit(row) for row in table.rows("limit")},
    )
    for name in {*LIMITS} ^ companions.limits.keys():
        table.fault(f"limit.{name}", "name", f"the limits are {', '.join(LIMITS)}")
    _no_duplicates(table, "flash_window", [f"{row.package} {row.since}" for row in windows])
    table.finish()
    return companions


def _no_duplicates(table: Table, section: str, names: list[str]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            table.fault(f"{section}.{number + 1}", "name", f"{name} is listed twice")


def _companion(row: Row) -> Companion:
    if canonicalize_name(row.name) != row.name:
        row.fault("name", f"must be written {canonicalize_name(row.name)}")
    return Companion(
        name=canonicalize_name(row.name),
        pinned=row.flag("pinned", default=False),
        compiled=row.flag("compiled", default=False),
        record=row.flag("record", default=False),
        paired=row.flag("pairs", default=False),
        source=row.source,
    )


def _window(row: Row) -> FlashWindow:
    first, below = row.version("first"), row.version("below")
    if first >= below:
        row.fault("below", f"{below} leaves no version")
    return FlashWindow(
        package=canonicalize_name(row.text("package")),
        since=row.version("since"),
        first=first,
        below=below,
        fatal=row.flag("fatal"),
        bypass=row.text("bypass", default=""),
        source=row.source,
    )


def _compiler(row: Row) -> HostCompiler:
    clang = row.number("clang") if "clang" in row.fields else None
    return HostCompiler(gcc=row.number("gcc"), clang=clang, source=row.source)


def _limit(row: Row) -> Limit:
    share = row.share("share") if "share" in row.fields else 0.0
    size = row.number("bytes") if "bytes" in row.fields or not share else 0
    return Limit(share=share, size=size, why=row.text("why"), source=row.source)
