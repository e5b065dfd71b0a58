"""What `doctor preflight` compares with: rules.toml and conditions.toml of the folder `preflight`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from packaging.version import Version

from flash_doctor.facts import frameworks, loading
from flash_doctor.facts.kinds import NAME, SPLIT, Capabilities, Key, Parsed, Words
from flash_doctor.facts.loading import Source, TableSection
from flash_doctor.model import Capability, Severity

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.facts.frameworks import AxolotlKeys, HfKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleText:
    """One rule in words: what it finds, its usual severity, why it matters, what is seen without it, what to do."""

    title: str
    severity: Severity
    phase: str
    why: str
    symptom: str
    remedy: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """rules.toml."""

    rules: Annotated[Mapping[str, RuleText], TableSection("rules")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One attention backend.

    `packs`: documents packed into one row stay apart; `half_only`: fp16 or bf16; `oldest`, `majors` and
    `capabilities` say which GPUs it runs on (empty: any); `packages`: any one of them brings it; `kernel`: the hub
    kernel that transformers falls back to.
    """

    name: Annotated[str, NAME]
    legacy: str = ""
    packs: bool
    half_only: bool
    oldest: Annotated[Capability | None, Key("from")]
    majors: Annotated[tuple[int, ...], SPLIT] = ()
    capabilities: Capabilities = ()
    head_dim: int | None
    packages: Words = ()
    kernel: str = ""
    torch: Version | None
    torchao: Version | None

    def runs_on(self, capability: Capability) -> bool:
        return (
            (self.oldest is None or capability >= self.oldest)
            and (not self.majors or capability.major in self.majors)
            and (not self.capabilities or capability in self.capabilities)
        )


def _alternatives(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(columns) for alternative in text.split("|") if (columns := alternative.split()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetType:
    """The columns a dataset type needs; `fits`: alternatives of columns that show that it is meant."""

    needs: Words
    fits: Annotated[tuple[tuple[str, ...], ...], Parsed(_alternatives, stand_in=())] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerPackage:
    """The distribution that optimisers of such a name need."""

    pattern: re.Pattern[str]
    package: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerState:
    """Bytes of state for each trained parameter that optimisers of such a name keep."""

    pattern: re.Pattern[str]
    bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusive:
    first: str
    second: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A key that axolotl refuses: when it is set at all, or only when it is true."""

    when: Literal["set", "true"]
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """conditions.toml."""

    limits: Annotated[Mapping[str, float], TableSection("limits", column="value", notes=("of",))]
    versions: Annotated[Mapping[str, Version], TableSection("versions", column="release", notes=("of",))]
    backends: Annotated[Mapping[str, Backend], TableSection("backends")]
    spellings: Annotated[Mapping[str, str], TableSection("spellings", column="right", by="wrong")]
    optimizer_packages: Annotated[tuple[OptimizerPackage, ...], TableSection("optimizers")]
    optimizer_states: Annotated[tuple[OptimizerState, ...], TableSection("states")]
    optimizers: Annotated[frozenset[str], SPLIT, TableSection("optimizer_names", column="names")]
    types: Annotated[Mapping[str, DatasetType], TableSection("types")]
    strategies: Annotated[frozenset[str], SPLIT, TableSection("strategies", column="names")]
    loadable: Annotated[frozenset[str], SPLIT, TableSection("formats", column="names")]
    templates: Annotated[Mapping[str, str], TableSection("templates", column="end")]
    embeddings: Annotated[Mapping[str, Words], TableSection("embeddings", column="modules")]
    linears: Annotated[
        Mapping[str, Annotated[frozenset[str], SPLIT]], TableSection("linears", column="modules", by="types")
    ]
    removed: Annotated[Mapping[str, Removed], TableSection("removed")]
    exclusive: Annotated[tuple[Exclusive, ...], TableSection("exclusive")]
    patterns: Annotated[Mapping[str, re.Pattern[str]], TableSection("prequantised", column="pattern")]
    checkpointing: Annotated[frozenset[str], SPLIT, TableSection("checkpointing", column="names")]

    @property
    def legacy_flags(self) -> Mapping[str, str]:
        """Old flag to backend, in the order in which axolotl looks at them."""
        return {backend.legacy: name for name, backend in self.backends.items() if backend.legacy}

    def optimizer_package(self, name: str) -> str:
        """The distribution that an optimiser's name needs, or nothing."""
        return next((row.package for row in self.optimizer_packages if row.pattern.fullmatch(name)), "")

    def state_bytes(self, optimizer: str) -> float:
        """Bytes of optimiser state for each trained parameter."""
        return next(row.bytes for row in self.optimizer_states if row.pattern.fullmatch(optimizer))

    def embedding_layers(self, model_type: str) -> tuple[str, ...]:
        return self.embeddings.get(model_type) or self.embeddings["default"]


class PreflightFacts:
    """The folder `preflight` of the wheel matrix; each file is read when it is first asked for.

    Reading a part raises BadFacts when its file breaks an invariant, with every fault of that file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def rules(self) -> Mapping[str, RuleText]:
        return loading.load(Rules, self.folder / "rules.toml").rules

    @cached_property
    def conditions(self) -> Conditions:
        return loading.load(Conditions, self.folder / "conditions.toml")

    @cached_property
    def axolotl(self) -> AxolotlKeys:
        return frameworks.load_axolotl(self.folder / "axolotl.toml")

    @cached_property
    def hf(self) -> HfKeys:
        return frameworks.load_hf(self.folder / "hf.toml")
