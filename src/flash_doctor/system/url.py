"""Addresses: taken apart once; which may be opened, and what of them may be shown and stored.

Only https and file addresses are opened; plain http is allowed to this machine alone (a local mirror). An address is
taken apart here and nowhere else, and what is opened and what is shown are made from the same parts, so that the host
that is shown is the host that is opened. What two readers could take apart differently is refused: control signs,
spaces, backslashes, an `@` behind the host, a host that is no name and no number (RFC 3986, 3.2; WHATWG URL reads a
backslash as a slash).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin

from flash_doctor.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDEXES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL",
)  # fmt: skip
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ADVICE = "Give an https address; or fetch the file yourself and name its folder: --wheelhouse DIR"
_LONGEST = 8192
# scheme, authority, path, query, fragment; with the signs that RFC 3986 allows in each, and those that people forget
# to quote and that mislead nobody (brackets, braces, a bar, a caret)
_SIGNS = r"A-Za-z0-9\-._~%!$&'()*+,;=:\[\]{}|^"
_ADDRESS = re.compile(
    rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://(?P<authority>[{_SIGNS}@]*)"
    rf"(?P<path>/[{_SIGNS}/]*)?(?:\?(?P<query>[{_SIGNS}/?]*))?(?:#(?P<fragment>[{_SIGNS}/?]*))?",
    re.ASCII,
)
# no host stands before the path of a file, so an `@` in it misleads nobody: folders have such names
_FILE_ADDRESS = re.compile(
    rf"(?P<scheme>(?i:file))://(?P<authority>[a-zA-Z]*)(?P<path>/[{_SIGNS}@/]*)(?P<query>)", re.ASCII
)
_SERVER = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)(?::(?P<port>[0-9]{0,5}))?",
    re.ASCII,
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,15}:/{1,2}", re.ASCII)
_MISLEADING = re.compile(r"[\x00-\x20\x7f@\\?#]|//")
_HIDDEN = "(an address that cannot be taken apart)"
_SIGN = "it has signs that do not belong there"
_TOO_LONG = f"it is longer than {_LONGEST} signs"
_NO_SCHEME = "it does not begin with https:// or file://"
_FILE = "a file address names no other machine"
_CLIMBS = "its path climbs (..)"
_NO_HOST, _NO_PORT = "it names no host", "its port is none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address in its parts: `scheme` and `host` in small letters, `path` and `query` quoted as they came.

    `login` is user name and password, unquoted.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    query: str
    login: tuple[str, str] | None

    @property
    def server(self) -> str:
        """Scheme, host and port; the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        own = {"https": 443, "http": 80}.get(self.scheme)
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port not in (None, own) else "")

    @property
    def shown(self) -> str:
        """Without login, query and fragment: fit to be shown and stored."""
        return self.server + self.path

    @property
    def opened(self) -> str:
        """What is asked for; the login travels beside it."""
        return self.shown + (f"?{self.query}" if self.query else "")

    @property
    def name(self) -> str:
        """The file's name; a quoted slash in it leads nowhere."""
        return unquote(self.path).rpartition("/")[2]


def parse(text: str) -> Address:
    """The address in its parts.

    Raises:
        BadInput: it is none, or one that could be read in two ways.
    """
    try:
        return _parts(text)
    except _Unreadable as error:
        message = f"{public(text)} is not opened: {error}"
        raise BadInput(message, advice=_ADVICE) from None


class _Unreadable(ValueError):
    """Why a text is no address."""


def _parts(text: str) -> Address:
    if len(text) > _LONGEST:
        raise _Unreadable(_TOO_LONG)
    match = _ADDRESS.fullmatch(text) or _FILE_ADDRESS.fullmatch(text)
    if match is None:
        raise _Unreadable(_SIGN if "://" in text else _NO_SCHEME)
    scheme = match["scheme"].lower()
    login, _, server = match["authority"].rpartition("@")
    host, port = ("", None) if scheme == "file" else _host_and_port(server)
    if scheme == "file" and (login or server.lower() not in {"", "localhost"}):
        raise _Unreadable(_FILE)
    path = match["path"] or ""
    if any(unquote(part) in {".", ".."} for part in path.split("/")):  # another path for the server than for a reader
        raise _Unreadable(_CLIMBS)
    user, _, password = login.partition(":")
    return Address(
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        query=match["query"] or "",
        login=(unquote(user), unquote(password)) if login else None,
    )


def _host_and_port(server: str) -> tuple[str, int | None]:
    match = _SERVER.fullmatch(server)
    if match is None:
        raise _Unreadable(_NO_HOST)
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 1 << 16:
        raise _Unreadable(_NO_PORT)
    host = match["host"].lower()
    if not host.startswith("["):
        return host, port
    try:
        return str(ipaddress.IPv6Address(host[1:-1])), port
    except ValueError as error:
        raise _Unreadable(_NO_HOST) from error


def public(url: str) -> str:
    """The address without login, query and fragment: fit to be shown and stored. Never fails.

    Of one that cannot be taken apart nothing is shown that could be a login, or mislead about the host.
    """
    try:
        return _parts(url).shown
    except _Unreadable:
        start = _SCHEME.match(url)
        return f"{start[0] if start else ''}{_HIDDEN}" if start or _MISLEADING.search(url) else url


def login_for(url: Address, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """User name and password: the address's own, else those that a package index in the environment has for its server.

    pip and uv use them for every file of that server, and leave them out of the addresses that they answer with.
    """
    if url.login:
        return url.login
    words = " ".join(environ.get(name, "") for name in _INDEXES).split()
    for index in filter(None, (_index(word[word.find("http") :]) for word in words)):  # uv allows NAME=ADDRESS
        if index.login and index.server == url.server:
            return index.login
    return None


def _index(text: str) -> Address | None:
    try:
        return _parts(text)
    except _Unreadable:
        return None


def to_open(url: str) -> Address:
    """The address, which may be opened.

    Raises:
        BadInput: another scheme than https or file, plain http to another machine, or no address at all.
    """
    address = parse(url)
    if address.scheme == "file" or _may_be_asked(address, plain=True):
        return address
    message = f"{address.shown}: only https and file addresses are opened"
    raise BadInput(message, advice=_ADVICE)


def redirected(url: str, target: str) -> str | None:
    """The whole address that an answer sends us on to; None when that would leave https, or cannot be taken apart.

    An `@` in its query is a server's own matter: it is quoted, since no person has agreed to that address.
    """
    start, mark, query = urljoin(url, target).partition("?") if _joinable(url, target) else ("", "", "")
    try:
        address = _parts(start + mark + query.replace("@", "%40"))
    except _Unreadable:
        return None
    return address.opened if _may_be_asked(address, plain=_parts(url).scheme == "http") else None


def _joinable(url: str, target: str) -> bool:
    try:
        return bool(urljoin(url, target))
    except ValueError:
        return False


def _may_be_asked(address: Address, *, plain: bool) -> bool:
    return address.scheme == "https" or (plain and address.scheme == "http" and address.host in _LOOPBACK)


def is_file(url: str) -> bool:
    """Whether it is the address of a file on this machine."""
    return url.lower().startswith("file:")


def path_of(url: str) -> Path:
    """The path in a file address.

    Raises:
        BadInput: it names another machine, or cannot be taken apart.
    """
    return Path(unquote(parse(url).path))


def file_name(url: str) -> str:
    """The file's name in an address; "" where it names none, or cannot be taken apart. Never fails."""
    try:
        return _parts(url).name
    except _Unreadable:
        return ""


def named_file(url: str) -> Address:
    """The address of a file that has a name.

    Raises:
        BadInput: it cannot be taken apart, or names no file.
    """
    address = parse(url)
    if address.name in {"", ".", ".."} or not address.name.isprintable():
        message = f"{address.shown!r} names no file"
        raise BadInput(message)
    return address
