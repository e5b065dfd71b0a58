"""The target: its interpreter, its distributions, its torch and its flash-attn, all read without importing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from packaging.utils import NormalizedName
from packaging.version import Version

from flash_doctor.model.part import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The interpreter that is treated; `why` says how it was chosen, `given` is what was typed behind --python."""

    python: Path
    why: str
    given: str = ""


class PythonKind(Enum):
    VENV = "venv"
    CONDA = "conda"
    SYSTEM = "system"


class Hider(Enum):
    """Why a folder comes before the standard library and the installed packages."""

    CURRENT_FOLDER = "current folder"
    PYTHONPATH = "PYTHONPATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A module or package at `path` that is imported by `name` instead of the one at `hides`.

    `lacks_compiled`: the hidden one has shared objects, this one has none; `source_tree`: it lies beside a setup.py or
    pyproject.toml.
    """

    name: str
    path: Path
    hides: Path
    hider: Hider
    lacks_compiled: bool
    source_tree: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How the interpreter starts with the variables that are set.

    `failure` holds the last words of a start that came to nothing; it was then read without PYTHONHOME and PYTHONPATH
    and, where `bare`, without the code of sitecustomize, usercustomize and .pth files. `complaints` are what site.py
    said of start-up files that failed, `printed` is what they wrote to stdout.
    """

    failure: tuple[str, ...] = ()
    bare: bool = False
    complaints: tuple[str, ...] = ()
    printed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """The target's interpreter as it describes itself.

    `abi` is its wheel ABI tag (cp312, cp313t), `platform` its wheel platform (linux_x86_64); `markers` the
    PEP 508 marker environment; `search_path` its sys.path; `managed` the text of EXTERNALLY-MANAGED (PEP 668).
    `shadows` are what the current folder and PYTHONPATH hide.
    """

    version: Version
    implementation: str
    executable: Path
    prefix: Path
    base_prefix: Path
    kind: PythonKind
    abi: str
    platform: str
    markers: Mapping[str, str]
    search_path: tuple[Path, ...]
    site_packages: tuple[Path, ...]
    user_site: Part[Path]
    pythonpath: tuple[Path, ...]
    managed: Part[str]
    writable: bool
    pip: Part[Version]
    headers: Part[Path]
    start: Start = field(default_factory=Start)
    shadows: Part[tuple[Shadow, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCheck:
    """RECORD against the disk: `missing` files, files of another `changed` size or hash; `hashed` with --deep."""

    files: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    hashed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One installed distribution, from its dist-info or egg-info folder at `metadata`.

    `requires` holds the raw Requires-Dist lines; `tags` the wheel tags of WHEEL; `url` the address of
    direct_url.json; `record` is Absent when there is no RECORD, Unknown when it was not compared.
    """

    name: NormalizedName
    version: Part[Version]
    raw_version: str
    metadata: Path
    location: Path
    installer: str
    url: Part[str]
    editable: bool
    in_user_site: bool
    requires: tuple[str, ...]
    requires_python: str
    tags: tuple[str, ...]
    top_level: tuple[str, ...]
    record: Part[RecordCheck]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenMetadata:
    """Metadata that give no distribution; `closed` where only this user may not read them."""

    path: Path
    why: str
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """Every distribution on the target's path in its order (the first of a name is the one that is used).

    `unfinished` are the journals' folders of our own fixes that were cut off, or are under way.
    """

    distributions: tuple[Package, ...]
    leftovers: tuple[Path, ...]
    broken: tuple[BrokenMetadata, ...]
    unfinished: tuple[Path, ...] = ()

    def find(self, name: str) -> Package | None:
        """The distribution of that normalised name that an import would meet first."""
        return next((package for package in self.distributions if package.name == name), None)

    def copies(self, name: str) -> tuple[Package, ...]:
        return tuple(package for package in self.distributions if package.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Torch:
    """torch on disk: torch/version.py and torch/lib, never imported.

    `cuda` and `hip` are Absent in a build without them; `vendor` names who built it (NVIDIA NGC, Jetson)
    when the version says so; `cxx11abi` is read from libc10.so; `libraries` are the file names in torch/lib.
    """

    version: Version
    location: Path
    git: Part[str]
    cuda: Part[Version]
    hip: Part[str]
    vendor: Part[str]
    cxx11abi: Part[bool]
    libraries: tuple[str, ...]


class FlashKind(Enum):
    """Which FlashAttention a distribution, module or extension belongs to; they are different products."""

    FA1 = "flash-attn 1"
    FA2 = "flash-attn 2"
    FA3 = "flash-attn 3"
    FA4 = "flash-attn 4"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashModule:
    """An importable module of the family, in the order of sys.path; `version` from its __init__ without running it."""

    kind: FlashKind
    name: str
    path: Path
    version: Part[Version]
    in_site_packages: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashAttention:
    """Everything of FlashAttention that is there: distributions, modules, compiled extension files.

    `owners` names, for an extension file, the distribution whose RECORD lists it; a file that is not in it has none.
    """

    packages: tuple[Package, ...]
    modules: tuple[FlashModule, ...]
    extensions: tuple[Path, ...]
    owners: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSetting:
    """A package index or find-links address that pip or uv would use, and where it is configured."""

    url: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDoctor:
    """A program named `doctor` on PATH that is not ours."""

    path: Path
    owner: Part[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementLine:
    """One line of the user's requirements file whose marker holds for the target.

    `specifier` is `==2.1`, or `@ address`; a `constraint` (a file named with -c) binds only what is installed anyway;
    `stack` names the known-good stack that asks for it instead of a file of the user's.
    """

    requirement: str
    name: NormalizedName
    specifier: str
    line: int
    file: Path
    constraint: bool = False
    stack: str = ""
