"""`doctor matrix refresh`: the publishers' release lists and indexes, read now and worked into the overlay.

Every answer is bounded and checked; a file is written only after it was loaded like the shipped facts. What one
publisher does not answer leaves that publisher's file as it was.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from flash_doctor.errors import BadFacts, BadInput, DoctorError
from flash_doctor.model.wheel import Renewal
from flash_doctor.resolve.sources.assets import Asset, read_releases, refresh
from flash_doctor.resolve.sources.matrix import load_wheels
from flash_doctor.resolve.sources.overlay import base_of, usable
from flash_doctor.resolve.sources.page import ACCEPT, read_page
from flash_doctor.system.bounds import read_json
from flash_doctor.system.files import write_file
from flash_doctor.system.owner import is_trusted
from flash_doctor.system.private import make_private

if TYPE_CHECKING:
    from flash_doctor.facts import Facts
    from flash_doctor.facts.publishers import LiveIndex, Publishers
    from flash_doctor.system.claims import Claimed

T = TypeVar("T")

LIMIT = 48 << 20  # bytes of one answer: a page of 100 releases with 100 files each takes 20 MB
MAX_PAGES = 40
_RATE_LIMIT = {403, 429}


@dataclass(kw_only=True)
class AddressReader:
    """Reads addresses, through a `mirror` where there is one (MIRROR/host/path), and remembers their validators."""

    mirror: str = ""
    known: dict[str, list[Any]] = field(default_factory=dict)
    seen: dict[str, list[Any]] = field(default_factory=dict)

    def address(self, url: str) -> str:
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{self.mirror.rstrip('/')}/{parts.netloc}{parts.path}{query}" if self.mirror else url

    def read(self, url: str, headers: dict[str, str]) -> bytes | None:
        """The body; None when it has not changed since it was read last."""
        from flash_doctor.system.http import get_changed

        etag = str(self.known.get(url, [""])[0])
        answer = get_changed(self.address(url), limit=LIMIT, headers=headers, etag=etag)
        if answer is None:
            self.seen[url] = self.known[url]
            return None
        self.seen[url] = [answer[1], 0]
        return answer[0]

    def count(self, url: str, number: int | None = None) -> int:
        """How many entries the answer had; told once, remembered for when it has not changed."""
        if number is not None:
            self.seen[url][1] = number
        return int(self.seen[url][1])


def renew(facts: Facts, overlay: Path, date: str, mirror: str = "", in_tree: bool = False) -> list[Renewal]:
    """Read every publisher and index, and write the files that changed; one Renewal for each."""
    validators = _Validators(overlay.parent / "validators.json")
    asked = _askings(facts.publishers)
    target = facts.folder / "wheels" if in_tree else overlay
    found = []
    for name in sorted(asked):
        shipped = facts.folder / "wheels" / f"{name}.json"
        current = shipped if in_tree or not usable(overlay / shipped.name, shipped, facts) else overlay / shipped.name
        fresh = current == shipped
        reader = AddressReader(mirror=mirror, known={} if fresh else validators.of(name))
        renewal = _renew_one(_Task(name, asked[name], current, shipped, target, date, in_tree), reader, facts)
        if not renewal.fault and not in_tree:
            validators.keep(name, reader.seen)
        found.append(renewal)
    return found


Asking = Callable[[AddressReader, "dict[str, Any]"], Iterator[Asset]]


def _askings(publishers: Publishers) -> dict[str, list[Asking]]:
    """Who is asked for each publisher's file."""
    asked: dict[str, list[Asking]] = {}
    for name, row in publishers.rows.items():
        if row.releases:
            asked.setdefault(name, []).append(lambda reader, _, url=row.releases: _releases(reader, url))  # type: ignore[misc]
        if row.index:
            asked.setdefault(name, []).append(lambda reader, book, index=row.index: _pages(reader, index, book))  # type: ignore[misc]
    return asked


def _releases(reader: AddressReader, template: str) -> Iterator[Asset]:
    """GitHub's list, page by page until an empty one."""
    for page in range(1, MAX_PAGES + 1):
        url = template.replace("{page}", str(page))
        body = reader.read(url, {"Accept": "application/vnd.github+json"})
        if body is not None:
            releases = _parsed(body, url)
            reader.count(url, len(releases))
            yield from read_releases(releases)
        if not reader.count(url):
            return
    message = f"{template} has more than {MAX_PAGES} pages"
    raise BadInput(message)


def _parsed(body: bytes, url: str) -> list[Any]:
    try:
        found = _accept(read_json(body, limit=LIMIT), list)
    except ValueError as error:
        message = f"{url} did not answer with JSON"
        raise BadInput(message) from error
    if found is None:
        message = f"{url}: the list of releases has another shape than expected"
        raise BadInput(message)
    return found


def _accept(claim: Claimed[Any], kind: type[T]) -> T | None:
    """A list or an object, whose members are looked at where they are read; None for anything else."""
    value = claim.unproved()
    return value if isinstance(value, kind) else None


def _pages(reader: AddressReader, index: LiveIndex, book: dict[str, Any]) -> Iterator[Asset]:
    """Every project's page of every CUDA build of an index; a page that does not exist holds nothing."""
    from flash_doctor.system.http import HttpError

    by_tag = "{release}" in (book.get("url") or "")
    for tag in index.tags:
        for package in index.packages:
            url = f"{index.url.replace('{tag}', tag)}{package}/"
            try:
                body = reader.read(url, {"Accept": ACCEPT})
            except HttpError as error:
                if error.status != 404:
                    raise
                continue
            yield from read_page(body, url, tag if by_tag else "") if body is not None else ()


@dataclass(frozen=True, slots=True)
class _Task:
    """One publisher's file: who is asked, the file it starts from, the shipped one, where it goes."""

    name: str
    asked: list[Asking]
    current: Path
    shipped: Path
    target: Path
    date: str
    in_tree: bool


def _renew_one(task: _Task, reader: AddressReader, facts: Facts) -> Renewal:
    try:
        book = _accept(read_json(task.current), dict) or {}
        assets = [asset for ask in task.asked for asset in ask(reader, book)]
        source = f"the publisher's list, read by flash-doctor matrix refresh ({task.name})"
        found = refresh(
            _without_own(book, source), assets, source=source, date=task.date, knows_cuda=facts.drivers.knows
        )
        renewed = found.book if task.in_tree else found.book | {"base": base_of(task.shipped)}
        if not task.in_tree:
            make_private(task.target)
        _write(task.target / task.shipped.name, renewed, facts)
    except (DoctorError, OSError, ValueError) as error:
        return Renewal(publisher=task.name, fault=_fault(error))
    return Renewal(publisher=task.name, added=found.added, replaced=found.replaced, unread=found.unread)


def _without_own(book: dict[str, Any], source: str) -> dict[str, Any]:
    """The book without the source line of an earlier refresh that no row rests on, so that it does not grow."""
    used = {row[book["columns"].index("source")] for row in book["families"]}
    last = len(book["sources"]) - 1
    if book["sources"][last]["source"] == source and last not in used:
        return book | {"sources": book["sources"][:last]}
    return book


def _fault(error: Exception) -> str:
    if getattr(error, "status", None) in _RATE_LIMIT:
        return f"{error}: GitHub answers 60 questions an hour without a login; try again in an hour"
    return str(error)


def _write(path: Path, book: dict[str, Any], facts: Facts) -> None:
    """Write a book whole or not at all, after it was checked like the shipped ones.

    Raises:
        BadFacts: it breaks an invariant.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_file(draft, dump(book))
        load_wheels(only=(draft,), publishers=facts.publishers, knows_cuda=facts.drivers.knows)
        draft.replace(path)
    except BadFacts as error:
        message = f"the answer would break the facts: {str(error).partition(': ')[2]}"
        raise BadInput(message) from error
    finally:
        draft.unlink(missing_ok=True)


def dump(book: dict[str, Any]) -> str:
    """JSON with one family on each line, as the shipped files have it."""
    rows = ",\n  ".join(json.dumps(row) for row in book["families"])
    text = json.dumps(book | {"families": "@"}, indent=1)
    return re.sub(r'"families": "@"', lambda _: f'"families": [\n  {rows}\n ]', text, count=1) + "\n"


class _Validators:
    """ETags of the answers that the overlay was made from, by publisher; a damaged file is as good as none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found = _accept(read_json(path), dict) if is_trusted(path) else None
        except (OSError, ValueError):
            found = None
        self.data: dict[str, Any] = found or {}

    def of(self, name: str) -> dict[str, list[Any]]:
        known = self.data.get(name)
        pairs = known.items() if isinstance(known, dict) else ()
        return {url: pair for url, pair in pairs if isinstance(pair, list) and len(pair) == 2}

    def keep(self, name: str, seen: dict[str, list[Any]]) -> None:
        self.data[name] = seen
        make_private(self.path.parent)
        write_file(self.path, json.dumps(self.data))
