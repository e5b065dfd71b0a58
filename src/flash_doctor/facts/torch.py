"""torch's releases and builds, and the packages that were released for each of them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from packaging.version import Version

from flash_doctor.facts.kinds import GIVEN, NAME, SPLIT, Checked, Parsed, Versions, Wrong, capability, each
from flash_doctor.facts.loading import Source, Table, TableSection
from flash_doctor.model import Capability

if TYPE_CHECKING:
    from pathlib import Path

PYTHON_TAG = re.compile(r"cp3\d+t?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A package that torch pins: nvidia-nccl-cu12 ==2.20.5."""

    name: str
    specifier: str


def _pin(text: str) -> Pin:
    name, equals, version = text.partition("==")
    if not (name and equals and version):
        message = "must be name==version"
        raise Wrong(message)
    return Pin(name=name, specifier=equals + version)


_PIN = Parsed(_pin, stand_in=Pin(name="", specifier=""))


def _triton(specifier: str) -> Pin:
    return Pin(name="triton", specifier=specifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchRelease:
    """One release as on the package index (Linux).

    `pythons`: CPython tags of its x86_64 wheels; `cuda`: of its x86_64 wheel; `arm_cuda`: whether the aarch64
    wheel is a CUDA build; `triton`, `nccl`, `cudnn`: what it pins; `torchvision`, `torchaudio`, `xformers`: their
    releases that were made for it.
    """

    version: Annotated[Version, NAME]
    date: datetime.date
    pythons: Annotated[tuple[Annotated[str, Checked(PYTHON_TAG.fullmatch, "{!r} is no CPython tag")], ...], SPLIT]
    cuda: Version
    arm_cuda: bool
    triton: Annotated[Pin, Parsed(_triton, stand_in=_PIN.stand_in)]
    nccl: Annotated[Pin, _PIN]
    cudnn: Annotated[Pin, _PIN]
    torchvision: Versions = ()
    torchaudio: Versions = ()
    xformers: Versions = ()
    source: Source

    def partners(self, name: str) -> tuple[Version, ...]:
        known = {"torchvision": self.torchvision, "torchaudio": self.torchaudio, "xformers": self.xformers}
        return known.get(name, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTargets:
    """GPU code in a binary: SASS runs as it is, PTX is compiled by the driver."""

    sass: tuple[Capability, ...]
    ptx: tuple[Capability, ...]


def _code(text: str) -> BuildTargets:
    """Architectures as TORCH_CUDA_ARCH_LIST spells them: "9.0" is SASS, "12.0+PTX" SASS and PTX; "?": none is known."""
    words = [] if text == "?" else text.split()
    sass = each(capability, (word.removesuffix("+PTX") for word in words))
    return BuildTargets(
        sass=tuple(sass), ptx=tuple(code for code, word in zip(sass, words, strict=True) if word.endswith("+PTX"))
    )


_CODE = Parsed(_code)


def _cuda_of(tag: str) -> Version:
    match = re.fullmatch(r"cu(\d+)(\d)", tag)
    if match is None:
        message = f"{tag!r} is no CUDA tag"
        raise Wrong(message)
    return Version(f"{match[1]}.{match[2]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBuild:
    """One CUDA build of a torch minor version, and where it is published.

    `archs`: GPU code of the build for x86_64, None where not known; `arm`: of that for aarch64, None where there is no
    such build, without any where it is not known; `indexes`: the address of every build's index, with {tag}.
    """

    tag: Annotated[str, NAME]
    cuda: Annotated[Version, NAME, Parsed(_cuda_of, stand_in=Version("0"))]
    indexes: Annotated[str, GIVEN]
    cxx11abi: bool
    glibc: Version
    archs: Annotated[BuildTargets | None, _CODE]
    arm: Annotated[BuildTargets | None, _CODE]
    source: Source

    @property
    def index(self) -> str:
        return self.indexes.replace("{tag}", self.tag)

    @property
    def gpus(self) -> Sequence[Capability]:
        """Every architecture that one of its builds has code for."""
        return sorted({gpu for code in self.code.values() if code for gpu in code.sass})

    @property
    def code(self) -> Mapping[str, BuildTargets | None]:
        """A machine (x86_64, aarch64) for which the build exists, and its GPU code, None where not known."""
        arm = {"aarch64": self.arm if self.arm.sass else None} if self.arm else {}
        return {"x86_64": self.archs if self.archs and self.archs.sass else None, **arm}


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchReleases:
    """torch.toml: `releases` by version, `builds` by minor version and CUDA tag."""

    indexes: Annotated[
        str, Checked(lambda url: "{tag}" in url, "must have {{tag}}"), TableSection("index", column="url")
    ]
    releases: Annotated[Mapping[Version, TorchRelease], TableSection("release")]
    builds: Annotated[Mapping[Version, Mapping[str, TorchBuild]], TableSection("build")]
    numpy2_from: Annotated[Version, TableSection("numpy2", column="version")]

    def faults(self) -> Iterator[tuple[str, str, str]]:
        for version in self.releases:
            if Version(f"{version.major}.{version.minor}") not in self.builds:
                yield f"release.{version}", "name", "[build] has no table for its minor version"

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
        return release.partners(name) if release else ()

    def made_for(self, name: str, version: Version) -> tuple[Version, ...]:
        """The torch releases for which that release of a partner was made."""
        public = Version(version.public)
        return tuple(torch for torch, release in self.releases.items() if public in release.partners(name))

    def speaks_numpy2(self, version: Version) -> bool:
        return Version(version.base_version) >= self.numpy2_from


def load(path: Path, *, cuda_known: Container[Version], gpus_known: Container[Capability]) -> TorchReleases:
    """TorchReleases from torch.toml; raises BadFacts with every fault of the file.

    Every CUDA build must be `cuda_known` to drivers.toml, every architecture `gpus_known` to gpus.toml.
    """
    table = Table.read(path)
    torch = table.whole(TorchReleases)
    for fault in _unknown(torch, cuda_known, gpus_known):
        table.fault(*fault)
    table.finish()
    return torch


def _unknown(
    torch: TorchReleases, cuda_known: Container[Version], gpus_known: Container[Capability]
) -> Iterator[tuple[str, str, str]]:
    for version, release in torch.releases.items():
        if release.cuda not in cuda_known:
            yield f"release.{version}", "cuda", f"drivers.toml does not know CUDA {release.cuda}"
    for minor, builds in torch.builds.items():
        for build in builds.values():
            label = f"build.{minor}.{build.tag}"
            if build.cuda not in cuda_known:
                yield label, "name", f"drivers.toml does not know CUDA {build.cuda}"
            for gpu in build.gpus:
                if gpu not in gpus_known:
                    yield label, "archs", f"gpus.toml does not know {gpu}"
