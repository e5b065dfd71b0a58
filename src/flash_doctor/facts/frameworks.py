"""The configuration keys of training frameworks by release: axolotl.toml and hf.toml of the folder `preflight`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from packaging.version import Version

from flash_doctor.facts import loading
from flash_doctor.facts.kinds import Parsed, Versions, Words, kind_of
from flash_doctor.facts.loading import TableSection

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The keys of one release: name to type, as its source writes the type.

    `removed` are kept by axolotl only to refuse or translate them; `nested` holds the keys of each sub-model,
    `plugins` those that count only while their plugin is listed; `enums` the members of a named set of words.
    """

    release: Version
    top: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    nested: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    plugins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def plugin_of(self, key: str) -> str:
        """The plugin that brings a key, or nothing."""
        return next((name for name, keys in self.plugins.items() if key in keys), "")

    def knows(self, key: str) -> bool:
        return key in self.top or key in self.removed or bool(self.plugin_of(key))

    def type_of(self, key: str) -> str:
        plugin = self.plugin_of(key)
        return self.top.get(key) or (self.plugins[plugin][key] if plugin else "")


def _some(text: str) -> frozenset[Version]:
    return frozenset() if text == "all" else frozenset(_VERSIONS.read(text))


_VERSIONS = kind_of(Versions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """Something that some releases have; none are named where all have it."""

    releases: Annotated[frozenset[Version], Parsed(_some, stand_in=frozenset())]

    def lasts(self, release: Version) -> bool:
        return not self.releases or release in self.releases


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow(Lasting):
    """Some keys of one type in the same place (`top`, `removed`, `nested MODEL`, `plugin NAME`) of some releases."""

    of: str
    type: str
    names: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class EnumRow(Lasting):
    enum: str
    members: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class AxolotlKeys:
    """axolotl.toml."""

    keys: Annotated[tuple[KeyRow, ...], TableSection("keys")]
    enums: Annotated[tuple[EnumRow, ...], TableSection("enums")]

    @property
    def releases(self) -> tuple[Version, ...]:
        return tuple(sorted(frozenset().union(*(row.releases for row in self.keys))))

    def schema(self, release: Version | None) -> Schema:
        """That of the release; between two known ones all keys of both count, since when each came is not known.

        None: the newest. A release older than the oldest known, or newer than the newest, takes that one's keys.
        """
        known = self.releases
        if release is None:
            return self._schema(known[-1])
        older = max((each for each in known if each <= release), default=known[0])
        newer = min((each for each in known if each >= release), default=known[-1])
        return self._schema(older) if older == newer else _either(self._schema(older), self._schema(newer), release)

    def _schema(self, release: Version) -> Schema:
        places: dict[str, dict[str, str]] = {}
        for row in self.keys:
            if row.lasts(release):
                places.setdefault(row.of, {}).update(dict.fromkeys(row.names, row.type))
        return Schema(
            release=release,
            top=places.get("top", {}),
            removed=places.get("removed", {}),
            nested=_under("nested ", places),
            plugins=_under("plugin ", places),
            enums={row.enum: row.members for row in self.enums if row.lasts(release)},
        )

    def releases_with(self, key: str) -> tuple[Version, ...]:
        """The releases that take this key at the top level (or from a plugin)."""
        rows = [row for row in self.keys if key in row.names and not row.of.startswith(("nested", "removed"))]
        return tuple(release for release in self.releases if any(row.lasts(release) for row in rows))


def _either(older: Schema, newer: Schema, release: Version) -> Schema:
    """What either of two releases knows; the older one's word on types and backends counts."""
    return Schema(
        release=release,
        top={**newer.top, **older.top},
        removed={**newer.removed, **older.removed},
        nested={
            **newer.nested,
            **{name: {**newer.nested.get(name, {}), **keys} for name, keys in older.nested.items()},
        },
        plugins={**newer.plugins, **older.plugins},
        enums=older.enums,
    )


def _under(prefix: str, places: Mapping[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {name.removeprefix(prefix): keys for name, keys in places.items() if name.startswith(prefix)}


@dataclass(frozen=True, slots=True, kw_only=True)
class HfRow:
    """Keys of TrainingArguments in some releases of transformers, or (`of` is trl) of TRL's own classes."""

    of: str
    releases: Versions = ()
    names: Words


@dataclass(frozen=True, kw_only=True)
class HfKeys:
    """hf.toml."""

    rows: Annotated[tuple[HfRow, ...], TableSection("keys")]

    @cached_property
    def trl(self) -> frozenset[str]:
        """The keys of TRL's own classes."""
        return frozenset(name for row in self.rows if row.of == "trl" for name in row.names)

    @cached_property
    def arguments(self) -> Mapping[Version, frozenset[str]]:
        """The keys of TrainingArguments by release of transformers."""
        rows = [row for row in self.rows if row.of != "trl"]
        releases = {release: None for row in rows for release in row.releases}
        return {
            release: frozenset(name for row in rows if release in row.releases for name in row.names)
            for release in releases
        }

    def known_to(self, release: Version) -> tuple[Version, frozenset[str]]:
        """The release in the list that stands for this one, and its keys."""
        older = [each for each in sorted(self.arguments) if each <= release] or [min(self.arguments)]
        return older[-1], self.arguments[older[-1]]

    def releases_with(self, key: str) -> tuple[Version, ...]:
        return tuple(sorted(release for release, keys in self.arguments.items() if key in keys))


def load_axolotl(path: Path) -> AxolotlKeys:
    """The keys from axolotl.toml; raises BadFacts with every fault of the file."""
    return loading.load(AxolotlKeys, path)


def load_hf(path: Path) -> HfKeys:
    """The keys from hf.toml; raises BadFacts with every fault of the file."""
    return loading.load(HfKeys, path)
