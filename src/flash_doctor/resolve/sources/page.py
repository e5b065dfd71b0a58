"""One project's page of a package index (PEP 503 HTML or PEP 691 JSON): its files, and its wheels as assets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from flash_doctor.errors import BadInput
from flash_doctor.resolve.sources.assets import Asset

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_HASH = re.compile(r"[0-9a-f]{64}")


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
        parts = urlsplit(urldefrag(urljoin(url, address))[0])
        whole = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        fits = sha256 if sha256 and _HASH.fullmatch(sha256) else None
        name = unquote(parts.path.rpartition("/")[2])
        yield PageFile(name=name, address=whole, sha256=fits, size=size)


File = tuple[str, "str | None", "int | None"]


def _json(text: str) -> Iterator[File]:
    try:
        for file in json.loads(text)["files"]:
            size = file.get("size")
            yield str(file["url"]), file["hashes"].get("sha256"), size if isinstance(size, int) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"the page of the index has another shape than expected: {type(error).__name__} {error}"
        raise BadInput(message) from error


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _html(text: str) -> Iterator[File]:
    links = _Links()
    links.feed(text)
    for link in links.found:
        address, fragment = urldefrag(link)
        yield address, fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None, None
