"""`Scene`: everything a rule of `preflight` may ask about; each part may be Absent or Unknown. Sizes are bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from packaging.version import Version

from flash_doctor.facts.frameworks import Schema
from flash_doctor.model import Absent, Capability, Part, Unknown
from flash_doctor.preflight.config import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResources:
    """The machine around the run; `quota` in cores, None without one."""

    wsl: bool
    container: bool
    cpus: int
    quota: float | None
    ram_free: int
    shm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU that the run may use; `used` bytes are taken by others."""

    name: str
    capability: Capability
    memory: int
    used: int = 0
    p2p: bool | None = None
    nvlink: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """Installed distributions, by normalised name."""

    versions: Mapping[str, Version]

    def get(self, name: str) -> Version | None:
        return self.versions.get(name)

    def any(self, names: tuple[str, ...]) -> str:
        """The first of these names that is installed, or nothing."""
        return next((name for name in names if name in self.versions), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashBuild:
    """Whether the installed flash-attn can be loaded beside this torch; `error` what the loader would say."""

    loads: Part[bool]
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Access to the model hub: a token is there, the base model and which kernels are in the cache.

    `offline`: there is known to be no way to the hub from this machine.
    """

    token: bool
    model_cached: Part[bool]
    kernels_cached: tuple[str, ...] = ()
    offline: bool = False


MOST_MATCHES = 1000


def at_home(name: str) -> Path:
    """The path with its `~` resolved; as it stands where there is no such user."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Which paths exist: those listed, else the disk below `roots`. `contents` are texts known beforehand."""

    roots: tuple[Path, ...]
    listed: Mapping[str, object]

    def find(self, name: str) -> Path | None:
        """The first path of that name; None also where it may not be looked at, or is no path at all."""
        for root in self.roots:
            path = root / at_home(name)
            with contextlib.suppress(OSError, ValueError):
                if path.exists():
                    return path
        return None

    def matching(self, pattern: str) -> tuple[Path, ...]:
        """The files that a pattern (data/*.jsonl) names below the first root where it names any."""
        for root in self.roots:
            with contextlib.suppress(OSError, ValueError, NotImplementedError):
                place = at_home(pattern)
                start = Path(place.anchor) if place.is_absolute() else root
                names = str(place.relative_to(place.anchor)) if place.is_absolute() else pattern
                if found := sorted(islice(start.glob(names), MOST_MATCHES)):
                    return tuple(found)
        return ()

    def exists(self, name: str) -> bool:
        said = self.listed.get(name)
        return bool(said) if said is not None else self.find(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The prepared dataset of an earlier run: `stale` says how the data differ from what it was made of."""

    folder: str
    stale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The file system of output_dir; `shares_hub`: the hub's cache lies on it too."""

    mount: str
    total: int
    free: int
    writable: bool
    shares_hub: bool
    filesystem: str = ""
    checkpoints: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRow:
    """One row of a data file, with its number from 1."""

    number: int
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The records read of one dataset; `faults` are lines that cannot be read, with the reason.

    `whole`: every line was parsed, else the first and evenly spread ones.
    """

    key: str
    path: str
    records: tuple[DataRow, ...]
    faults: tuple[tuple[int, str], ...] = ()
    missing: str = ""
    whole: bool = True

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(name for record in self.records for name in record.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All training rows together: counts, token lengths, shares. `how` says how they were measured.

    `files`: how many files they lie in, 0 if that is not known.
    """

    rows: int
    p50: float
    longest: float
    over: float
    duplicates: float
    how: str
    leaked: int = 0
    bytes: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The base model's shape, from its config.json; `dtype` is what its weights are stored in, "" if not said."""

    model_type: str
    params: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_positions: int
    tied: bool
    gated: bool | None
    quant_method: str
    attention_dropout: float = 0.0
    sliding_window: bool = False
    widest_head: int = 0
    dtype: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """The tokenizer: its special tokens, whether it has a chat template, and every token it knows."""

    eos: str
    pad: str
    bos: str
    has_template: bool
    tokens: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A finished adapter's adapter_config.json."""

    base: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """A run and its surroundings."""

    run: Run
    schema: Part[Schema]
    axolotl: Part[Version]
    transformers: Part[Version]
    system: Part[HostResources]
    cards: Part[tuple[Card, ...]]
    world: Part[int]
    stack: Part[Distributions]
    flash: Part[FlashBuild]
    variables: Part[Mapping[str, str]]
    logged_in: Part[bool]
    hub: Part[Hub]
    files: Files
    prepared: Part[Prepared]
    disk: Part[Disk]
    pins: Part[Mapping[str, str]]
    samples: Part[tuple[Sample, ...]]
    totals: Part[Totals]
    model: Part[Model]
    tokenizer: Part[Tokenizer]
    trained: Part[Adapter]
    importable: Mapping[str, bool]
    modules: Part[tuple[Path, ...]]
    server: Part[bool]
    interfaces: Part[tuple[str, ...]]
    merges: bool

    def capability(self) -> Part[Capability]:
        """The smallest among the cards: what one of them cannot do stops all."""
        if isinstance(self.cards, (Absent, Unknown)):
            return self.cards
        return min((card.capability for card in self.cards), default=Absent(absent="no GPU"))
