"""What a publisher's release list says now, worked into its file of the matrix: the core of `doctor matrix refresh`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from flash_doctor.errors import BadInput
from flash_doctor.resolve.sources.matrix import COLUMNS
from flash_doctor.resolve.sources.names import tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LABEL = re.compile(r"cu(\d\d)(\d?)torch(\d+\.\d+)(?:cxx11abi(TRUE|FALSE))?.*")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")

Book = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file of a release; sha256 is None where the publisher's list has no digest."""

    release: str
    name: str
    sha256: str | None
    size: int | None

    @property
    def key(self) -> str:
        return f"{self.release}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """The new book; `added` wheels it did not know, `replaced` files whose hash is not the one we pinned."""

    book: Book
    added: tuple[str, ...]
    replaced: tuple[str, ...]


def read_releases(releases: object) -> Iterator[Asset]:
    """The wheels in GitHub's answer to "list releases".

    Raises:
        BadInput: it has another shape.
    """
    try:
        for release in releases:  # type: ignore[attr-defined]
            for asset in release["assets"]:
                if asset["name"].endswith(".whl"):
                    digest = _DIGEST.fullmatch(asset.get("digest") or "")
                    sha256 = digest[1] if digest else None
                    yield Asset(release=release["tag_name"], name=asset["name"], sha256=sha256, size=asset.get("size"))
    except (TypeError, KeyError, AttributeError) as error:
        message = f"the list of releases has another shape than expected: {type(error).__name__} {error}"
        raise BadInput(message) from error


def refresh(book: Book, assets: Iterable[Asset], *, source: str, date: str) -> Refreshed:
    """A book with what the assets add: published hashes, and families for wheels that were not known.

    A wheel that was only promised and is listed now gets a row of its own. The GPU code of a new wheel is taken from
    the newest known one for the same CUDA; the C++ ABI, where the name does not tell it, is left open.
    """
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in book["families"]]
    listed = {key for row in rows if row["evidence"] == "listed" for key in _keys(row)}
    number, added, published = len(book["sources"]), [], dict(book.get("published", {}))
    replaced = []
    for asset in assets:
        pinned = book.get("sha256", {}).get(asset.key)
        if pinned and asset.sha256 and pinned != asset.sha256:
            replaced.append(asset.key)
        row = None if asset.key in listed else _row(asset, rows, number)
        if row is not None:
            _forget(asset.key, rows)
            rows.append(row)
            added.append(asset.key)
        if asset.sha256 and (row is not None or asset.key in listed):
            published[asset.key] = asset.sha256
    families = [[row[column] for column in COLUMNS] for row in rows if row["pythons"]]
    sources = [*book["sources"], {"source": source, "date": date}]
    renewed = book | {"sources": sources, "families": families, "published": published}
    return Refreshed(book=renewed, added=tuple(added), replaced=tuple(replaced))


def _keys(row: Mapping[str, Any]) -> Iterator[str]:
    for word in row["pythons"].split():
        yield _key(row, word)


def _key(row: Mapping[str, Any], word: str) -> str:
    python, abi = tags(word)
    label = f"+{row['local']}" if row["local"] else ""
    return f"{row['release']}/{row['dist']}-{row['version']}{label}-{python}-{abi}-{row['platform']}.whl"


def _forget(key: str, rows: list[Row]) -> None:
    """Take a wheel out of the row that only promised it."""
    for row in rows:
        if row["release"] == key.partition("/")[0]:
            row["pythons"] = " ".join(word for word in row["pythons"].split() if _key(row, word) != key)


def _row(asset: Asset, rows: list[Row], source: int) -> Row | None:
    """The row of a new wheel; None where its name does not tell torch and CUDA, or is no wheel's."""
    try:
        parse_wheel_filename(asset.name)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    stem, python, abi, platform = asset.name.removesuffix(".whl").rsplit("-", 3)
    dist, _, full = stem.partition("-")
    version, _, local = full.partition("+")
    match = _LABEL.fullmatch(local)
    if match is None or dist not in {row["dist"] for row in rows}:
        return None
    cuda = f"{match[1]}.{match[2]}" if match[2] else match[1]
    return {
        "dist": dist,
        "version": version,
        "local": local,
        "release": asset.release,
        "cuda": cuda,
        "torch": match[3],
        "built": "",
        "cxx11abi": match[4] == "TRUE" if match[4] else None,
        "code": _code(dist, version, cuda, rows),
        "platform": platform,
        "evidence": "listed",
        "source": source,
        "pythons": abi if abi.rstrip("mt") == python else f"{python}-{abi}",
    }


def _code(dist: str, version: str, cuda: str, rows: list[Row]) -> str:
    """GPU code of the newest known wheel of that product for the same CUDA, not newer than this one; "" for none."""
    limit = Version(version)
    same = [row for row in rows if (row["dist"], row["cuda"]) == (dist, cuda) and Version(row["version"]) <= limit]
    return str(max(same, key=lambda row: Version(row["version"]))["code"]) if same else ""
