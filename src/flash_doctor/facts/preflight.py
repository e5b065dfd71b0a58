"""What `doctor preflight` compares with: rules.toml and conditions.toml of the folder `preflight`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.facts import frameworks
from flash_doctor.facts.loading import Row, Source, Table
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
class Backend:
    """One attention backend.

    `packs`: documents packed into one row stay apart; `half_only`: fp16 or bf16; `oldest`, `majors` and
    `capabilities` say which GPUs it runs on (empty: any); `packages`: any one of them brings it; `kernel`: the hub
    kernel that transformers falls back to.
    """

    name: str
    legacy: str
    packs: bool
    half_only: bool
    oldest: Capability | None
    majors: tuple[int, ...]
    capabilities: tuple[Capability, ...]
    head_dim: int | None
    packages: tuple[str, ...]
    kernel: str
    torch: Version | None
    torchao: Version | None

    def runs_on(self, capability: Capability) -> bool:
        return (
            (self.oldest is None or capability >= self.oldest)
            and (not self.majors or capability.major in self.majors)
            and (not self.capabilities or capability in self.capabilities)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetType:
    """The columns a dataset type needs; `fits`: alternatives of columns that show that it is meant."""

    needs: tuple[str, ...]
    fits: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusive:
    first: str
    second: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A key that axolotl refuses: when it is `set` at all, or only when it is true."""

    when_set: bool
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """conditions.toml."""

    limits: Mapping[str, float]
    versions: Mapping[str, Version]
    backends: Mapping[str, Backend]
    spellings: Mapping[str, str]
    optimizer_packages: tuple[tuple[re.Pattern[str], str], ...]
    optimizer_states: tuple[tuple[re.Pattern[str], float], ...]
    optimizers: frozenset[str]
    types: Mapping[str, DatasetType]
    strategies: frozenset[str]
    loadable: frozenset[str]
    templates: Mapping[str, str]
    embeddings: Mapping[str, tuple[str, ...]]
    linears: Mapping[str, frozenset[str]]
    removed: Mapping[str, Removed]
    exclusive: tuple[Exclusive, ...]
    patterns: Mapping[str, re.Pattern[str]]
    checkpointing: frozenset[str]

    @property
    def legacy_flags(self) -> Mapping[str, str]:
        """Old flag to backend, in the order in which axolotl looks at them."""
        return {backend.legacy: name for name, backend in self.backends.items() if backend.legacy}

    def optimizer_package(self, name: str) -> str:
        """The distribution that an optimiser's name needs, or nothing."""
        return next((package for pattern, package in self.optimizer_packages if pattern.fullmatch(name)), "")

    def state_bytes(self, optimizer: str) -> float:
        """Bytes of optimiser state for each trained parameter."""
        return next(number for pattern, number in self.optimizer_states if pattern.fullmatch(optimizer))

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
        table = Table.read(self.folder / "rules.toml")
        rules = {row.name: _rule(row) for row in table.rows("rules")}
        table.finish()
        return rules

    @cached_property
    def conditions(self) -> Conditions:
        return load_conditions(self.folder / "conditions.toml")

    @cached_property
    def axolotl(self) -> AxolotlKeys:
        return frameworks.load_axolotl(self.folder / "axolotl.toml")

    @cached_property
    def hf(self) -> HfKeys:
        return frameworks.load_hf(self.folder / "hf.toml")


def _rule(row: Row) -> RuleText:
    severity = row.text("severity")
    if severity not in {member.value for member in Severity}:
        row.fault("severity", f"{severity!r} is no severity")
        severity = "error"
    return RuleText(
        title=row.text("title"),
        severity=Severity(severity),
        phase=row.text("phase"),
        why=row.text("why"),
        symptom=row.text("symptom"),
        remedy=row.text("remedy"),
        source=row.source,
    )


def load_conditions(path: Path) -> Conditions:
    """Conditions from conditions.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    conditions = Conditions(
        limits={row.name: _limit(row) for row in table.rows("limits")},
        versions={row.name: _release(row) for row in table.rows("versions")},
        backends={row.name: _backend(row) for row in table.rows("backends")},
        spellings={wrong: row.text("right") for row in table.rows("spellings") for wrong in row.text("wrong").split()},
        optimizer_packages=tuple((_pattern(row), row.text("package")) for row in table.rows("optimizers")),
        optimizer_states=tuple((_pattern(row), decimal(row, "bytes")) for row in table.rows("states")),
        optimizers=_names(table, "optimizer_names"),
        types={row.name: _type(row) for row in table.rows("types")},
        strategies=_names(table, "strategies"),
        loadable=_names(table, "formats"),
        templates={row.name: row.text("end") for row in table.rows("templates")},
        embeddings={row.name: tuple(row.text("modules").split()) for row in table.rows("embeddings")},
        linears=dict(_linears(table)),
        removed={row.name: _removed(row) for row in table.rows("removed")},
        exclusive=tuple(_exclusive(row) for row in table.rows("exclusive")),
        patterns={row.name: _pattern(row) for row in table.rows("prequantised")},
        checkpointing=_names(table, "checkpointing"),
    )
    table.finish()
    return conditions


def decimal(row: Row, key: str) -> float:
    row.used.add(key)
    value = row.fields.get(key)
    if not isinstance(value, float):
        row.fault(key, f"must be a number with a point, not {value!r}")
        return 0.0
    return value


def _limit(row: Row) -> float:
    row.text("of")
    return decimal(row, "value")


def _release(row: Row) -> Version:
    row.text("of")
    return row.version("release")


def _pattern(row: Row) -> re.Pattern[str]:
    text = row.text("pattern")
    try:
        # what it is compared with may hold a line feed, and the last row is to fit whatever it is
        return re.compile(text, re.IGNORECASE | re.DOTALL)
    except re.error as error:
        row.fault("pattern", f"{error}")
        return re.compile("")


def _names(table: Table, section: str) -> frozenset[str]:
    return frozenset(name for row in table.rows(section) for name in row.text("names").split())


def _backend(row: Row) -> Backend:
    capabilities = row.capabilities("from")
    return Backend(
        name=row.name,
        legacy=row.text("legacy", default=""),
        packs=row.flag("packs"),
        half_only=row.flag("half_only"),
        oldest=capabilities[0] if capabilities else None,
        majors=tuple(int(word) for word in row.text("majors", default="").split()),
        capabilities=row.capabilities("capabilities"),
        head_dim=row.number("head_dim") if "head_dim" in row.fields else None,
        packages=tuple(row.text("packages", default="").split()),
        kernel=row.text("kernel", default=""),
        torch=row.optional_version("torch"),
        torchao=row.optional_version("torchao"),
    )


def _type(row: Row) -> DatasetType:
    fits = row.text("fits", default="")
    return DatasetType(
        needs=tuple(row.text("needs").split()),
        fits=tuple(tuple(alternative.split()) for alternative in fits.split("|") if alternative.strip()),
    )


def _linears(table: Table) -> Iterator[tuple[str, frozenset[str]]]:
    for row in table.rows("linears"):
        modules = frozenset(row.text("modules").split())
        for name in row.text("types").split():
            yield name, modules


def _removed(row: Row) -> Removed:
    return Removed(when_set=row.text("when") == "set", instead=row.text("instead"))


def _exclusive(row: Row) -> Exclusive:
    return Exclusive(first=row.text("first"), second=row.text("second"), instead=row.text("instead"))
