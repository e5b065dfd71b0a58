"""Real HTTP and HTTPS servers on loopback that serve files and misbehave on demand, and a proxy to reach them by."""

from __future__ import annotations

import base64
import gzip
import hashlib
import select
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator


@dataclass
class Site:
    """What is served, and how badly.

    `cuts`: bytes after which each of the next answers breaks off; `failures`: statuses of the next answers, with
    `retry_after`; `announce`: a wrong length; `headers`: sent instead of the right ones; `endless`: the body again and
    again, in chunks; `packed`: gzip although nobody asked; `slices` of the body with a `pause` before each.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    retry_after: str = ""
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    etag: bool = True
    announce: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False
    packed: bool = False
    slices: int = 1
    pause: float = 0.0
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: ClassVar[Site]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.requests.append((self.path, wanted))
        site.logins.append(_login(self.headers.get("Authorization", "")))
        if site.failures:
            self._empty(site.failures.pop(0), {"Retry-After": site.retry_after} if site.retry_after else {})
        elif self.path in site.redirects:
            self._empty(302, {"Location": site.redirects[self.path]})
        elif self.path not in site.files:
            self._empty(404)
        elif site.endless:
            self._without_end(site.files[self.path])
        else:
            self._file(site.files[self.path], wanted)

    def _empty(self, status: int, headers: dict[str, str] | None = None) -> None:
        self._head(status, {"Content-Length": "0", **(headers or {})})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, **self.site.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _file(self, body: bytes, wanted: str | None) -> None:
        body = gzip.compress(body, 1) if self.site.packed else body
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        tags = {"ETag": etag} if self.site.etag else {}
        if self.site.etag and self.headers.get("If-None-Match") == etag:
            self._empty(304, tags)
            return
        partial = self.site.ranges and wanted and self.headers.get("If-Range", etag) == etag
        start, _, end = (wanted or "bytes=0-").removeprefix("bytes=").partition("-") if partial else ("0", "", "")
        piece = body[int(start) : int(end) + 1 if end else None]
        if partial and not piece:
            self._empty(416, {"Content-Range": f"bytes */{len(body)}"})
            return
        span = {"Content-Range": f"bytes {start}-{int(start) + len(piece) - 1}/{len(body)}"} if partial else {}
        packed = {"Content-Encoding": "gzip"} if self.site.packed else {}
        length = {"Content-Length": str(self.site.announce or len(piece))}
        self._head(206 if partial else 200, {**span, **tags, **packed, **length})
        self._write(piece)

    def _write(self, piece: bytes) -> None:
        if self.site.cuts:
            piece = piece[: self.site.cuts.pop(0)]
            self.close_connection = True
        if self.site.announce or self.site.headers:
            self.close_connection = True
        step = max(1, -(-len(piece) // self.site.slices))
        for start in range(0, len(piece), step):
            time.sleep(self.site.pause)
            self.wfile.write(piece[start : start + step])

    def _without_end(self, body: bytes) -> None:
        self._head(200, {"Transfer-Encoding": "chunked"})
        while True:
            self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: pytest's output is for failures."""


def _login(header: str) -> str:
    """`user:password` of a basic authorization."""
    return base64.b64decode(header.removeprefix("Basic ")).decode() if header else ""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: a client that hangs up in the middle is what some tests are about."""


@contextmanager
def serve(site: Site, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Serve the site, over TLS where a server's context is given."""
    handler = type("Handler", (_Handler,), {"site": site})
    with _running(handler, tls) as port:
        site.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        yield site


@contextmanager
def _running(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    with _Server(("127.0.0.1", 0), handler) as server:
        if tls:
            # the handshake is left to the thread of the connection: it may fail, or hang
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Proxy:
    """A proxy that tunnels; it wants `login` (user:password) where there is one."""

    login: str = ""
    refuses: int = 0
    tunnels: list[str] = field(default_factory=list)
    url: str = ""

    def with_login(self, login: str) -> str:
        return self.url.replace("://", f"://{login}@")


class _Tunnel(BaseHTTPRequestHandler):
    proxy: ClassVar[Proxy]

    def do_CONNECT(self) -> None:
        proxy = self.proxy
        if proxy.refuses or proxy.login != _login(self.headers.get("Proxy-Authorization", "")):
            self.send_error(proxy.refuses or 407)
            return
        proxy.tunnels.append(self.path)
        address = urlsplit(f"//{self.path}")
        with socket.create_connection((address.hostname, address.port or 443)) as beyond:
            self.send_response(200)
            self.end_headers()
            _pump(self.connection, beyond)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Bytes to and fro until one side ends."""
    ways = {one: other, other: one}
    while True:
        for ready in select.select(list(ways), [], [])[0]:
            data = ready.recv(1 << 16)
            if not data:
                return
            ways[ready].sendall(data)


@contextmanager
def proxying(proxy: Proxy) -> Iterator[Proxy]:
    with _running(type("Tunnel", (_Tunnel,), {"proxy": proxy})) as port:
        proxy.url = f"http://127.0.0.1:{port}"
        yield proxy
