"""One project's page of a package index (PEP 503 HTML or PEP 691 JSON): its files, and its wheels as assets."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin

from flash_doctor.errors import BadInput
from flash_doctor.resolve.sources.assets import Asset
from flash_doctor.system.bounds import read_json
from flash_doctor.system.claims import is_sha256
from flash_doctor.system.redact import cut
from flash_doctor.system.url import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.claims import Claimed

ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_LIMIT = 64 << 20  # characters; what is fetched is cut before


def read_page(body: bytes, url: str, release: str) -> Iterator[Asset]:
    """The wheels of a page that was read from `url`; `release` is what the matrix files them under.

    Raises:
        BadInput: it is neither of the two formats.
    """
    for file in page_files(body, url):
        if file.name.endswith(".whl") and file.address.startswith("https:"):
            yield Asset(release=release, name=file.name, sha256=file.sha256, size=file.size, address=file.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """One file of a page; `address` without the user and password of the page's own, `size` in bytes."""

    name: str
    address: str
    sha256: str | None
    size: int | None


def page_files(body: bytes, url: str) -> Iterator[PageFile]:
    """The files of a page that was read from `url`.

    Raises:
        BadInput: it is neither of the two formats.
    """
    text = body.decode("utf-8", "replace")
    for address, sha256, size in _json(text) if text.lstrip().startswith("{") else _html(text):
        try:
            whole = parse(urldefrag(urljoin(url, address))[0])
        except ValueError as error:
            message = f"the page of the index names {cut(address, 200)!r}, which is no address"
            raise BadInput(message) from error
        fits = sha256 if sha256 and is_sha256(sha256) else None
        yield PageFile(name=whole.name, address=whole.opened, sha256=fits, size=size)


File = tuple[str, "str | None", "int | None"]


def _json(text: str) -> Iterator[File]:
    try:
        files = _accept(read_json(text, limit=_LIMIT))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"the page of the index has another shape than expected: {type(error).__name__} {error}"
        raise BadInput(message) from error
    yield from files


def _accept(claim: Claimed[Any]) -> list[File]:
    return [_file(file) for file in claim.unproved()["files"]]


def _file(file: dict[str, Any]) -> File:
    sha256, size = file["hashes"].get("sha256"), file.get("size")
    sized = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    return str(file["url"]), sha256 if isinstance(sha256, str) else None, size if sized else None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _html(text: str) -> Iterator[File]:
    links = _Links()
    try:
        links.feed(text)
        addresses = [urldefrag(link) for link in links.found]
    except (ValueError, AssertionError) as error:  # html.parser asserts what only a declaration that is cut off breaks
        message = f"the page of the index cannot be read as HTML: {cut(str(error), 200)}"
        raise BadInput(message) from error
    for address, fragment in addresses:
        yield address, fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None, None
