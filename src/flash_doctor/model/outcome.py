"""What a fix would do (Sheet), and what came of it (Outcome). Sizes are bytes, times seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from packaging.utils import NormalizedName

from flash_doctor.model.proof import Proof
from flash_doctor.model.python import Target
from flash_doctor.model.wheel import HashState


class Action(Enum):
    """`INSTALL` puts a distribution in place of the one that is there, `BUILD` compiles it before."""

    INSTALL = "install"
    BUILD = "build"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One distribution: `old` and `new` version (None: not there), where it comes from, and how we know its hash."""

    action: Action
    name: NormalizedName
    old: str | None
    new: str | None
    because: str
    source: str | None = None
    size: int | None = None
    sha256: str | None = None
    hash_state: HashState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What is about to be done to a target; nothing has happened yet.

    `download` counts the bytes that have to be fetched (None where a size is not known), `minutes` a build's estimate.
    """

    target: Target
    title: str
    changes: tuple[Change, ...]
    because: tuple[str, ...]
    installer: str
    download: int | None = None
    minutes: int | None = None
    notes: tuple[str, ...] = ()


class State(Enum):
    """How a treatment ended; the last one left the target as it was before."""

    NOTHING = "nothing to do"
    SHOWN = "shown only"
    VERIFIED = "installed and verified"
    UNVERIFIED = "installed, not verified"
    RESTORED = "verification failed, restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done and proved.

    `refused` are wheels that were fetched and sent back, each with the reason; `seconds` by stage; `kept` the bytes
    of old files that `rollback` needs; `receipt` the file in the target that holds this outcome.
    """

    state: State
    sheet: Sheet
    why: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    proof: Proof | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    kept: int = 0
    receipt: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastFix:
    """A fix whose old files are still there: `finished` False for one that was cut off."""

    id: str
    title: str
    finished: bool
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What `rollback` found, and which of it was undone."""

    target: Target
    fixes: tuple[PastFix, ...]
    undone: PastFix | None
