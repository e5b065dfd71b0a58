"""A real HTTP server on loopback that serves files and misbehaves on demand."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Site:
    """What is served, and how badly: `cuts` bytes after which each of the next answers breaks off."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    etag: bool = True
    announce: int | None = None
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: ClassVar[Site]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.requests.append((self.path, wanted))
        if site.failures:
            self._empty(site.failures.pop(0))
        elif self.path in site.redirects:
            self._empty(302, location=site.redirects[self.path])
        elif self.path not in site.files:
            self._empty(404)
        else:
            self._file(site.files[self.path], wanted)

    def _empty(self, status: int, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, body: bytes, wanted: str | None) -> None:
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        if self.site.etag and self.headers.get("If-None-Match") == etag:
            self._empty(304)
            return
        partial = self.site.ranges and wanted and self.headers.get("If-Range", etag) == etag
        start, _, end = (wanted or "bytes=0-").removeprefix("bytes=").partition("-") if partial else ("0", "", "")
        piece = body[int(start) : int(end) + 1 if end else None]
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{int(start) + len(piece) - 1}/{len(body)}")
        if self.site.etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(self.site.announce or len(piece)))
        self.end_headers()
        self._write(piece)

    def _write(self, piece: bytes) -> None:
        if self.site.cuts:
            piece = piece[: self.site.cuts.pop(0)]
            self.close_connection = True
        if self.site.announce:
            self.close_connection = True
        self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: pytest's output is for failures."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: a client that hangs up in the middle is what some tests are about."""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    handler = type("Handler", (_Handler,), {"site": site})
    with _Server(("127.0.0.1", 0), handler) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
