"""What a publisher's release list says now, worked into its file of the matrix: the core of `doctor matrix refresh`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from flash_doctor.errors import BadInput
from flash_doctor.resolve.sources.matrix import COLUMNS
from flash_doctor.resolve.sources.names import platform as platform_of, tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_LABEL = re.compile(r"cu\.?(\d\d)\.?(\d?)\.?torch\.?(\d+\.\d+)(?:cxx11abi(TRUE|FALSE))?.*")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")

Book = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file of a release; sha256 is None where the publisher's list has no digest.

    `address` is where it lies, when that does not follow from release and name.
    """

    release: str
    name: str
    sha256: str | None
    size: int | None
    address: str | None = None

    @property
    def key(self) -> str:
        return f"{self.release}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """The new book; `added` wheels it did not know, `replaced` files whose hash is not the one that was known.

    `unread` are wheels whose name does not tell torch and CUDA, or tells a CUDA that is not known.
    """

    book: Book
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    unread: tuple[str, ...] = ()


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
                    size = asset.get("size")
                    yield Asset(
                        release=str(release["tag_name"]),
                        name=asset["name"],
                        sha256=sha256,
                        size=size if isinstance(size, int) and size >= 0 else None,
                    )
    except (TypeError, KeyError, AttributeError) as error:
        message = f"the list of releases has another shape than expected: {type(error).__name__} {error}"
        raise BadInput(message) from error


def refresh(
    book: Book,
    assets: Iterable[Asset],
    *,
    source: str,
    date: str,
    knows_cuda: Callable[[Version], bool] = lambda _: True,
) -> Refreshed:
    """A book with what the assets add: hashes by the publisher, and rows for wheels that were not known.

    A wheel that was only promised and is listed now keeps what the promise said of it. The GPU code of a new wheel is
    taken from the newest known one for the same CUDA; the C++ ABI, where the name does not tell it, is left open.
    """
    merge = _Merge(book, knows_cuda)
    for asset in assets:
        merge.take(asset)
    sources = [*book["sources"], {"source": source, "date": date}]
    return Refreshed(
        book=book | merge.parts() | {"sources": sources},
        added=tuple(merge.added),
        replaced=tuple(merge.replaced),
        unread=tuple(merge.unread),
    )


class _Merge:
    """A book while assets are worked into it."""

    def __init__(self, book: Book, knows_cuda: Callable[[Version], bool]) -> None:
        self.knows_cuda, self.number = knows_cuda, len(book["sources"])
        self.rows: list[Row] = [dict(zip(COLUMNS, values, strict=True)) for values in book["families"]]
        self.listed = {key for row in self.rows if row["evidence"] == "listed" for key in _keys(row)}
        self.promised = {key: row for row in self.rows if row["evidence"] != "listed" for key in _keys(row)}
        self.pinned = book.get("sha256", {})
        self.tables: dict[str, dict[str, Any]] = {
            "published": dict(book.get("published", {})),
            "size": dict(book.get("size", {})),
            "address": dict(book.get("address", {})),
        }
        self.added: list[str] = []
        self.replaced: list[str] = []
        self.unread: list[str] = []

    def take(self, asset: Asset) -> None:
        key = asset.key
        known = self.pinned.get(key) or self.tables["published"].get(key)
        if known and asset.sha256 and known != asset.sha256:
            self.replaced.append(key)
        if key not in self.listed and not self._add(asset):
            self.unread.append(key)
            return
        said = {"published": asset.sha256, "size": asset.size, "address": asset.address}
        for name, value in said.items():
            if value is not None:
                self.tables[name][key] = value

    def _add(self, asset: Asset) -> bool:
        """A row for a wheel that was not listed before; False where its name does not tell enough."""
        promise = self.promised.pop(asset.key, None)
        row = self._kept(asset, promise) if promise else _row(asset, self.rows, self.number)
        if row is None or (row["cuda"] and not self.knows_cuda(Version(row["cuda"]))):
            return False
        self.rows.append(row)
        self.listed.add(asset.key)
        self.added.append(asset.key)
        return True

    def _kept(self, asset: Asset, promise: Row) -> Row:
        """The promised wheel as a row of its own, taken out of the row that promised it."""
        word = next(word for word in promise["pythons"].split() if _key(promise, word) == asset.key)
        promise["pythons"] = " ".join(other for other in promise["pythons"].split() if other != word)
        return promise | {"evidence": "listed", "source": self.number, "pythons": word}

    def parts(self) -> Book:
        """What changes in the book; new rows that differ in their Python alone become one."""
        merged: dict[str, Row] = {}
        for row in self.rows:
            same = repr([row[column] for column in COLUMNS if column != "pythons"])
            if row["source"] == self.number and same in merged:
                merged[same]["pythons"] += f" {row['pythons']}"
            elif row["pythons"]:
                merged[same if row["source"] == self.number else f"{len(merged)} {same}"] = row
        families = [[row[column] for column in COLUMNS] for row in merged.values()]
        return {"families": families, **{name: table for name, table in self.tables.items() if table or name == "size"}}


def _keys(row: Mapping[str, Any]) -> Iterator[str]:
    for word in row["pythons"].split():
        yield _key(row, word)


def _key(row: Mapping[str, Any], word: str) -> str:
    python, abi = tags(word)
    label = f"+{row['local']}" if row["local"] else ""
    return f"{row['release']}/{row['dist']}-{row['version']}{label}-{python}-{abi}-{row['platform']}.whl"


def _row(asset: Asset, rows: list[Row], source: int) -> Row | None:
    """The row of a new wheel; None where its name does not tell torch and CUDA, or is no wheel's."""
    try:
        parse_wheel_filename(asset.name)
        stem, python, abi, platform = asset.name.removesuffix(".whl").rsplit("-", 3)
        platform_of(platform)
        tags(abi if abi.rstrip("mt") == python else f"{python}-{abi}")
    except (InvalidWheelFilename, InvalidVersion, ValueError):
        return None
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
