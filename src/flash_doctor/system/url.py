"""Addresses: which may be opened, and what of them may be shown and stored.

Only https and file addresses are opened; plain http is allowed to this machine alone (a local mirror).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from flash_doctor.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDEXES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL",
)  # fmt: skip
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# also with signs in the password that should have been quoted; a port is no password
_LOGIN = re.compile(r"(?<=://)(?:[^/\s]*@|[^/\s:\[]*:(?!\d*(?:/|$))[^@\s]*@)")
_ADVICE = "Give an https address; or fetch the file yourself and name its folder: --wheelhouse DIR"


def public(url: str) -> str:
    """The address without user name, password and query: fit to be shown and stored. Never fails."""
    return without_login(url).partition("#")[0].partition("?")[0]


def without_login(text: str) -> str:
    """The same text, without the `user:password@` of every address in it."""
    return _LOGIN.sub("", text)


def login_for(url: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """User name and password of the same server, where the address of a package index in the environment has them.

    pip and uv use them for every file of that server, and leave them out of the addresses that they answer with.
    """
    if _LOGIN.search(url):
        return None
    words = " ".join(environ.get(name, "") for name in _INDEXES).split()
    for index in (word[word.find("http") :] for word in words):  # uv allows NAME=ADDRESS
        found = _LOGIN.search(index)
        if found and _server(public(index)) == _server(public(url)):
            user, _, password = found[0].rstrip("@").partition(":")
            return unquote(user), unquote(password)
    return None


def _server(url: str) -> str:
    """Scheme, host and port."""
    return "/".join(url.lower().split("/", 3)[:3])


def check(url: str) -> None:
    """Refuse what is not opened.

    Raises:
        BadInput: another scheme than https or file, or no address at all.
    """
    if is_file(url) or _open_to(url, plain=True):
        return
    message = f"{public(url) or 'an empty text'}: only https and file addresses are opened"
    raise BadInput(message, advice=_ADVICE)


def redirected(url: str, target: str) -> str | None:
    """The whole address that an answer sends us on to; None when that would leave https."""
    try:
        whole = urljoin(url, target)
    except ValueError:
        return None
    return whole if _open_to(whole, plain=urlsplit(url).scheme == "http") else None


def _open_to(url: str, *, plain: bool) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (plain and parts.scheme == "http" and host in _LOOPBACK))


def is_file(url: str) -> bool:
    """Whether it is the address of a file on this machine."""
    return url.lower().startswith("file:")


def path_of(url: str) -> Path:
    """The path in a file address."""
    return Path(unquote(urlsplit(url).path))


def file_name(url: str) -> str:
    """The file's name in an address; a quoted slash in it leads nowhere. Never fails."""
    return unquote(public(url)).rpartition("/")[2]


def check_named(url: str) -> None:
    """Refuse what cannot be taken apart, or names no file.

    Raises:
        BadInput: it is such an address.
    """
    try:
        port = urlsplit(url).port
    except ValueError as error:
        message = f"{public(url)!r} is no address: {without_login(str(error))}"
        raise BadInput(message) from error
    name = file_name(url)
    if port == 0 or name in {"", ".", ".."} or not name.isprintable():
        message = f"{public(url)!r} names no file"
        raise BadInput(message)
