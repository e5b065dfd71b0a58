"""Wheels that somebody publishes: what a file fits, where it lies, and how its hash is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from packaging.utils import NormalizedName
from packaging.version import Version

from flash_doctor.model.machine import Capability


class HashState(Enum):
    """Who vouches for a file's sha256; nothing is installed in any other state.

    PINNED: our facts; PUBLISHED: its publisher or an index, asked by us; FIRST_SEEN: nobody yet, it is asked for and
    remembered; CLAIMED: the plan that somebody gave us, and nobody else.
    """

    PINNED = "pinned"
    PUBLISHED = "published"
    FIRST_SEEN = "first-seen"
    CLAIMED = "claimed"


class Evidence(Enum):
    """How we know that a wheel exists; ABSENT: promised by a build matrix, answered with 404."""

    MEASURED = "measured"
    LISTED = "listed"
    SEEN = "seen"
    WORKFLOW = "workflow"
    RELEASE_HISTORY = "release_history"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelTarget:
    """One architecture in a binary: SASS; `exact` as sm_90a (that chip only), `upward` as PTX (any newer one)."""

    capability: Capability
    exact: bool = False
    upward: bool = False

    def __str__(self) -> str:
        return f"{self.capability}{'a' if self.exact else ''}{'+' if self.upward else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFault:
    """Something a wheel's name does not tell; `breaks` when the wheel must not be offered for it."""

    id: str
    summary: str
    source: str
    date: str
    breaks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFamily:
    """The wheels of one release that differ in their Python alone.

    `torch` is the minor release it was built for (None: any), `newer_torch` whether newer ones do too (torch's
    stable interface); `built` the exact release it was compiled against, "" where unknown; `cuda` the CUDA of
    the build, a bare major ("12") for a wheel meant for all of it, None for none; `cxx11abi` the C++ ABI of the
    binary whatever the name says, None where unknown; `glibc` the oldest that runs it, None where unknown;
    `system` is linux, windows or any; `trust` the publisher's rank, 0 for the authors.
    """

    publisher: str
    dist: NormalizedName
    version: Version
    local: str
    release: str
    cuda: Version | None
    torch: Version | None
    newer_torch: bool
    built: str
    cxx11abi: bool | None
    code: tuple[WheelTarget, ...]
    platform: str
    system: str
    machine: str
    glibc: Version | None
    evidence: Evidence
    source: str
    date: str
    trust: int
    template: str | None
    index: str | None
    hash_state: HashState
    requires: tuple[str, ...]
    faults: tuple[KnownFault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel file. `address` is its own URL where it does not follow from the family's template.

    `published`: its sha256 was read from the publisher's release or index, and is not pinned by us.
    """

    family: WheelFamily
    python: str
    abi: str
    sha256: str | None = None
    size: int | None = None
    address: str | None = None
    published: bool = False

    @property
    def name(self) -> NormalizedName:
        return self.family.dist

    @property
    def version(self) -> str:
        """Version with its local label, as the file name has it."""
        return f"{self.family.version}{'+' if self.family.local else ''}{self.family.local}"

    @property
    def filename(self) -> str:
        """The file's name (composed, where the publisher only has an index)."""
        if self.address:
            return unquote(urlsplit(self.address).path.rpartition("/")[2])
        stem = self.family.dist.replace("-", "_")
        return f"{stem}-{self.version}-{self.python}-{self.abi}-{self.family.platform}.whl"

    @property
    def url(self) -> str | None:
        """Where to fetch it; None when only an index page is known (`family.index`)."""
        if self.address or self.family.template is None:
            return self.address
        return self.family.template.format(release=self.family.release, file=quote(self.filename))

    @property
    def hash_state(self) -> HashState:
        if self.sha256 is None:
            return self.family.hash_state
        return HashState.PUBLISHED if self.published else HashState.PINNED

    @property
    def python_text(self) -> str:
        """`3.12`, `3.13t`, or `any`."""
        return python_text(self.python, self.abi)


@lru_cache(maxsize=256)
def python_text(python: str, abi: str) -> str:
    """The Python a wheel's tags mean, for people: cp312-cp312 is 3.12, cp39-abi3 is 3.9 or newer."""
    digits = python.removeprefix("cp").removeprefix("py")
    if not python.startswith("cp"):
        return "any"
    text = f"{digits[0]}.{digits[1:]}{'t' if abi.endswith('t') else ''}"
    return f"{text} or newer" if abi == "abi3" else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One file of the matrix: its publisher, and the newest date in it."""

    publisher: str
    title: str
    file: Path
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One torch build (minor, CUDA tag) with one Python on one machine: each publisher's newest version."""

    machine: str
    torch: Version
    tag: str
    python: str
    newest: Mapping[str, Version]

    @property
    def empty(self) -> bool:
        return not self.newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What came of one publisher: wheels that are new, files that were replaced under a known name, or a fault."""

    publisher: str
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackVerdict:
    """`consistent` is None where nobody could be asked; `why` says how we know.

    `versions` are the complete set of the index's answer, `not_judged` requirements that exist as source only.
    """

    consistent: bool | None
    why: tuple[str, ...]
    versions: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()
