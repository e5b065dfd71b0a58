"""Who publishes FlashAttention wheels, and at which addresses: publishers.toml, the one table of publishers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, NamedTuple

from flash_doctor.errors import BadInput
from flash_doctor.facts.kinds import INLINE, NAME, Key, Parsed, Words, Wrong
from flash_doctor.facts.loading import Source, TableSection

if TYPE_CHECKING:
    from packaging.version import Version

# what the table itself may hold: nothing that could be read in two ways
_OWN = re.compile(r"https://([a-z0-9-]+(?:\.[a-z0-9-]+)+)((?:/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*)?)*)", re.ASCII)


class Place(NamedTuple):
    """A host and the beginning of a path on it, both in small letters, the path without a slash at its end."""

    host: str
    path: str

    def holds(self, other: Place) -> bool:
        return self.host == other.host and f"{other.path}/".startswith(f"{self.path}/")


def _own_place(url: str) -> Place:
    match = _OWN.fullmatch(url)
    if match is None:
        message = f"must be https addresses of plain signs, not {url!r}"
        raise Wrong(message)
    return Place(match[1], match[2].lower().rstrip("/"))


def _template(word: str, before: str) -> Parsed:
    """An address in which `word` stands for what changes; ours is what comes before `before`."""

    def parse(url: str) -> str:
        if word not in url:
            message = f"must be an https address with {word}"
            raise Wrong(message)
        _own_place(url.partition(before)[0])
        return url

    return Parsed(parse, stand_in="")


_PLACE = Parsed(_own_place, stand_in=Place("", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveIndex:
    """An index with one page per CUDA build: `url` holds {tag}; `packages` what it is asked for."""

    url: Annotated[str, Key("index"), _template("{tag}", "{")]
    tags: Words
    packages: tuple[str, ...]

    def of(self, cuda: Version) -> str:
        return self.url.replace("{tag}", f"cu{cuda.major}{cuda.minor}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Somebody known to publish flash-attn wheels.

    `rank`: whom a plan prefers, 0 for the authors, None where plans take nothing from them; `releases`: the address of
    the release list, with {page}.
    """

    name: Annotated[str, NAME]
    title: str
    why: str
    rank: int | None
    addresses: tuple[Annotated[Place, _PLACE], ...]
    index: Annotated[LiveIndex | None, INLINE]
    releases: Annotated[str, _template("{page}", "?")] = ""
    source: Source

    @property
    def places(self) -> Iterator[Place]:
        """Everywhere that its files and the lists of them may lie."""
        yield from self.addresses
        if self.index and self.index.url:
            yield _own_place(self.index.url.partition("{")[0])
        if self.releases:
            yield _own_place(self.releases.partition("?")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverUse:
    """An address that must not be used as an index, and why."""

    place: Annotated[Place, Key("url"), _PLACE]
    why: str
    source: Source


@dataclass(frozen=True, kw_only=True)
class Publishers:
    """publishers.toml."""

    rows: Annotated[Mapping[str, Publisher], TableSection("publisher")]
    never: Annotated[tuple[NeverUse, ...], TableSection("never")]

    @cached_property
    def places(self) -> tuple[tuple[Place, Publisher], ...]:
        return tuple((place, row) for row in self.rows.values() for place in row.places)

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """No address is two publishers'."""
        for number, (place, row) in enumerate(self.places):
            for other, owner in self.places[:number]:
                if owner is not row and (place.holds(other) or other.holds(place)):
                    yield f"publisher.{row.name}", "addresses", f"one of them is {owner.name}'s"

    def publisher_of(self, url: str) -> Publisher | None:
        """Whose address that is; None for a stranger's, and for one that two programs could read differently."""
        asked = _place(url, strictly=True)
        if asked is None:
            return None
        return next((row for place, row in self.places if place.holds(asked)), None)

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
