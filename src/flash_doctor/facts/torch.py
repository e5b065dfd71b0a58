"""torch's releases and builds, and the packages that were released for each of them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.facts.loading import Row, Source, Table, capability
from flash_doctor.model import Capability

if TYPE_CHECKING:
    from pathlib import Path

PYTHON_TAG = re.compile(r"cp3\d+t?")
PARTNERS = ("torchvision", "torchaudio", "xformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A package that torch pins: nvidia-nccl-cu12 ==2.20.5."""

    name: str
    specifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchRelease:
    """One release as on the package index (Linux).

    `pythons`: CPython tags of its x86_64 wheels; `cuda`: of its x86_64 wheel; `arm_cuda`: whether the aarch64
    wheel is a CUDA build; `pins`: triton, nccl, cudnn; `partners`: torchvision, torchaudio and xformers
    releases made for it.
    """

    version: Version
    date: datetime.date
    pythons: tuple[str, ...]
    cuda: Version
    arm_cuda: bool
    triton: Pin
    nccl: Pin
    cudnn: Pin
    partners: Mapping[str, tuple[Version, ...]]
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTargets:
    """GPU code in a binary: SASS runs as it is, PTX is compiled by the driver."""

    sass: tuple[Capability, ...]
    ptx: tuple[Capability, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBuild:
    """One CUDA build of a torch minor version, and where it is published.

    `code` maps a machine (x86_64, aarch64) for which the build exists to its GPU code, None where not known.
    """

    minor: Version
    tag: str
    cuda: Version
    index: str
    cxx11abi: bool
    glibc: Version
    code: Mapping[str, BuildTargets | None]
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchReleases:
    """torch.toml: `releases` by version, `builds` by minor version and CUDA tag."""

    releases: Mapping[Version, TorchRelease]
    builds: Mapping[Version, Mapping[str, TorchBuild]]
    numpy2_from: Version

    def release(self, version: Version) -> TorchRelease | None:
        """The release of that public version; a local part (+cu121) and a build number do not matter."""
        return self.releases.get(Version(version.public))

    @property
    def newest(self) -> TorchRelease:
        return self.releases[max(self.releases)]

    def builds_of(self, version: Version) -> tuple[TorchBuild, ...]:
        """Every CUDA build of that version's minor, oldest CUDA first."""
        return tuple(self.builds.get(Version(f"{version.major}.{version.minor}"), {}).values())

    def build(self, version: Version, cuda: Version) -> TorchBuild | None:
        wanted = (cuda.major, cuda.minor)
        builds = self.builds_of(version)
        return next((build for build in builds if (build.cuda.major, build.cuda.minor) == wanted), None)

    def partners(self, name: str, version: Version) -> tuple[Version, ...]:
        """Releases of torchvision, torchaudio or xformers that were made for that torch; empty when not known."""
        release = self.release(version)
        return release.partners.get(name, ()) if release else ()

    def made_for(self, name: str, version: Version) -> tuple[Version, ...]:
        """The torch releases for which that release of a partner was made."""
        public = Version(version.public)
        return tuple(torch for torch, release in self.releases.items() if public in release.partners.get(name, ()))

    def speaks_numpy2(self, version: Version) -> bool:
        return Version(version.base_version) >= self.numpy2_from


def load(path: Path, *, cuda_known: Container[Version], gpus_known: Container[Capability]) -> TorchReleases:
    """TorchReleases from torch.toml; raises BadFacts with every fault of the file.

    Every CUDA build must be `cuda_known` to drivers.toml, every architecture `gpus_known` to gpus.toml.
    """
    table = Table.read(path)
    numpy2 = [row.version("version") for row in table.rows("numpy2")]
    url = "".join([row.text("url") for row in table.rows("index")])
    releases = {release.version: release for release in map(_release, table.rows("release"))}
    builds = {
        row.version: row.builds
        for row in (_Minor.read(table, name, found, url) for name, found in table.data.get("build", {}).items())
    }
    if len(numpy2) != 1 or "{tag}" not in url:
        table.fault("numpy2.first, index.pytorch", "", "one version, and one address with {tag}, must be there")
    for release in releases.values():
        if release.cuda not in cuda_known:
            table.fault(f"release.{release.version}", "cuda", f"drivers.toml does not know CUDA {release.cuda}")
    for build in (build for named in builds.values() for build in named.values()):
        for problem in _problems(build, cuda_known, gpus_known):
            table.fault(f"build.{build.minor}.{build.tag}", *problem)
    for version in releases:
        if Version(f"{version.major}.{version.minor}") not in builds:
            table.fault(f"release.{version}", "name", "[build] has no table for its minor version")
    table.finish()
    return TorchReleases(releases=releases, builds=builds, numpy2_from=numpy2[0])


def _problems(
    build: TorchBuild, cuda_known: Container[Version], gpus_known: Container[Capability]
) -> list[tuple[str, str]]:
    found = [] if build.cuda in cuda_known else [("name", f"drivers.toml does not know CUDA {build.cuda}")]
    codes = [code for code in build.code.values() if code is not None]
    unknown = {gpu for code in codes for gpu in (*code.sass, *code.ptx) if gpu not in gpus_known}
    return found + [("archs", f"gpus.toml does not know {gpu}") for gpu in sorted(unknown)]


def _release(row: Row) -> TorchRelease:
    pythons = tuple(row.text("pythons").split())
    for tag in pythons:
        if not PYTHON_TAG.fullmatch(tag):
            row.fault("pythons", f"{tag!r} is no CPython tag")
    return TorchRelease(
        version=row.name_version,
        date=row.date("date"),
        pythons=pythons,
        cuda=row.version("cuda"),
        arm_cuda=row.flag("arm_cuda"),
        triton=Pin(name="triton", specifier=row.text("triton")),
        nccl=_pin(row, "nccl"),
        cudnn=_pin(row, "cudnn"),
        partners={name: row.versions(name) for name in PARTNERS},
        source=row.source,
    )


def _pin(row: Row, key: str) -> Pin:
    name, equals, version = row.text(key).partition("==")
    if not (name and equals and version):
        row.fault(key, "must be name==version")
    return Pin(name=name, specifier=equals + version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Minor:
    """The table [build."2.8"]."""

    version: Version
    builds: Mapping[str, TorchBuild]

    @classmethod
    def read(cls, table: Table, name: str, found: object, url: str) -> _Minor:
        version = Row(table, "build", name, {}).name_version
        rows = table.rows_of(f"build.{name}", found)
        return cls(version=version, builds={row.name: _build(row, version, url) for row in rows})


def _build(row: Row, minor: Version, url: str) -> TorchBuild:
    match = re.fullmatch(r"cu(\d+)(\d)", row.name)
    if match is None:
        row.fault("name", f"{row.name!r} is no CUDA tag")
    code: dict[str, BuildTargets | None] = {"x86_64": _code(row, "archs")}
    if "arm" in row.fields:
        code["aarch64"] = None if row.text("arm") == "?" else _code(row, "arm")
    return TorchBuild(
        minor=minor,
        tag=row.name,
        cuda=Version(f"{match[1]}.{match[2]}" if match else "0"),
        index=url.replace("{tag}", row.name),
        cxx11abi=row.flag("cxx11abi"),
        glibc=row.version("glibc"),
        code=code,
        source=row.source,
    )


def _code(row: Row, key: str) -> BuildTargets | None:
    """Architectures as TORCH_CUDA_ARCH_LIST spells them: "9.0" is SASS, "12.0+PTX" is SASS and PTX."""
    words = row.text(key, default="").split()
    none = Capability(major=0, minor=0)
    sass = tuple(row.parse(key, word.removesuffix("+PTX"), capability, none) for word in words)
    ptx = tuple(code for code, word in zip(sass, words, strict=True) if word.endswith("+PTX"))
    return BuildTargets(sass=sass, ptx=ptx) if words else None
