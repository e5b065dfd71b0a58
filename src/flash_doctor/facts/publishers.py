"""Who publishes FlashAttention wheels, and at which addresses: publishers.toml, the one table of publishers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flash_doctor.errors import BadInput
from flash_doctor.facts.loading import Row, Source, Table

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.version import Version

# what the table itself may hold: nothing that could be read in two ways
_OWN = re.compile(r"https://([a-z0-9-]+(?:\.[a-z0-9-]+)+)((?:/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*)?)*)", re.ASCII)


class Place(NamedTuple):
    """A host and the beginning of a path on it, both in small letters, the path without a slash at its end."""

    host: str
    path: str

    def holds(self, other: Place) -> bool:
        return self.host == other.host and f"{other.path}/".startswith(f"{self.path}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveIndex:
    """An index with one page per CUDA build: `url` holds {tag}; `packages` what it is asked for."""

    url: str
    tags: tuple[str, ...]
    packages: tuple[str, ...]

    def of(self, cuda: Version) -> str:
        return self.url.replace("{tag}", f"cu{cuda.major}{cuda.minor}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Somebody known to publish flash-attn wheels.

    `rank`: whom a plan prefers, 0 for the authors, None where plans take nothing from them; `releases`: the address of
    the release list, with {page}.
    """

    name: str
    title: str
    why: str
    rank: int | None
    places: tuple[Place, ...]
    index: LiveIndex | None
    releases: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverUse:
    """An address that must not be used as an index, and why."""

    place: Place
    why: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishers:
    """publishers.toml."""

    rows: Mapping[str, Publisher]
    never: tuple[NeverUse, ...]

    def publisher_of(self, url: str) -> Publisher | None:
        """Whose address that is; None for a stranger's, and for one that two programs could read differently."""
        asked = _place(url, strictly=True)
        if asked is None:
            return None
        return next((row for row in self.rows.values() if any(place.holds(asked) for place in row.places)), None)

    def forbidden(self, url: str) -> NeverUse | None:
        """Why an address must not be used, also by plain http or with a login."""
        asked = _place(url, strictly=False)
        return next((row for row in self.never if asked and row.place.holds(asked)), None)


def _place(url: str, *, strictly: bool) -> Place | None:
    """Host and path of an address; `strictly`: of one by https, without a login or a port of its own."""
    from flash_doctor.system.url import parse  # late: 5 ms, for which a `check` without such an index has no use

    try:
        address = parse(url)
    except BadInput:
        return None
    plain = address.login is None and address.server == f"https://{address.host}"
    if not address.host or _climbs(address.path) or (strictly and not plain):
        return None
    # the hosts in the table take their owners' names in any case
    return Place(address.host, address.path.lower().rstrip("/"))


def _climbs(path: str) -> bool:
    """Whether a path may lead elsewhere for a server that unquotes it, once or more."""
    from urllib.parse import unquote

    plain = unquote(path)
    while plain != path:
        if plain.count("/") != path.count("/") or "\\" in plain:
            return True
        path, plain = plain, unquote(plain)
    return any(part.partition(";")[0] in {".", ".."} for part in path.split("/"))


def load(path: Path) -> Publishers:
    """Publishers from publishers.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    rows = {row.name: _publisher(row) for row in table.rows("publisher")}
    never = tuple(_never(row) for row in table.rows("never"))
    _each_its_own(table, list(rows.values()))
    table.finish()
    return Publishers(rows=rows, never=never)


def _each_its_own(table: Table, rows: list[Publisher]) -> None:
    for number, row in enumerate(rows):
        for other in rows[:number]:
            if any(one.holds(two) or two.holds(one) for one in row.places for two in other.places):
                table.fault(f"publisher.{row.name}", "addresses", f"one of them is {other.name}'s")


def _publisher(row: Row) -> Publisher:
    index, releases = _index(row), row.text("releases", default="")
    if releases and "{page}" not in releases:
        row.fault("releases", "must be an https address with {page}")
    listed = [("addresses", url) for url in row.words("addresses")]
    listed += [("index", index.url.partition("{")[0])] if index else []
    listed += [("releases", releases.partition("?")[0])] if releases else []
    return Publisher(
        name=row.name,
        title=row.text("title"),
        why=row.text("why"),
        rank=row.number("rank") if "rank" in row.fields else None,
        places=tuple(place for key, url in listed if (place := _own_place(row, key, url))),
        index=index,
        releases=releases,
        source=row.source,
    )


def _own_place(row: Row, key: str, url: str) -> Place | None:
    match = _OWN.fullmatch(url)
    if match is None:
        row.fault(key, f"must be https addresses of plain signs, not {url!r}")
        return None
    return Place(match[1], match[2].lower().rstrip("/"))


def _index(row: Row) -> LiveIndex | None:
    if "index" not in row.fields:
        return None
    url = row.text("index")
    if "{tag}" not in url:
        row.fault("index", "must be an https address with {tag}")
    return LiveIndex(url=url, tags=tuple(row.text("tags").split()), packages=row.words("packages"))


def _never(row: Row) -> NeverUse:
    place = _own_place(row, "url", row.text("url"))
    return NeverUse(place=place or Place("", ""), why=row.text("why"), source=row.source)
