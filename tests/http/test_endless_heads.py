"""Servers that never come to the body of an answer, or hide one without end before it."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar

import pytest

from flash_doctor.system import http
from flash_doctor.system.http import HttpError, get_bytes
from memory import peak_of

OK = b"HTTP/1.1 200 OK\r\n"
MOST_IN_FLIGHT = 16 << 20


@dataclass
class Talker:
    """Sends what `talk` gives, whatever it is asked, until nobody listens."""

    talk: Callable[[], Iterator[bytes]]
    pause: float = 0.0
    asked: int = 0
    sent: int = 0
    url: str = ""


class _Handler(socketserver.BaseRequestHandler):
    talker: ClassVar[Talker]

    def handle(self) -> None:
        self.request.recv(65536)
        self.talker.asked += 1
        for piece in self.talker.talk():
            try:
                self.request.sendall(piece)
            except OSError:
                return
            self.talker.sent += len(piece)
            time.sleep(self.talker.pause)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def talking(talker: Talker) -> Iterator[Talker]:
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"talker": talker})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            talker.url = f"http://127.0.0.1:{server.server_address[1]}/x"
            yield talker
        finally:
            server.shutdown()
            thread.join()


def redirect_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"
    yield from repeat(bytes(1 << 20), 3000)


def fault_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 404 Not Found\r\n\r\n"
    yield from repeat(bytes(1 << 20), 3000)


def headers_without_end() -> Iterator[bytes]:
    yield OK
    yield from repeat(b"X-More: " + b"y" * 60_000 + b"\r\n", 50_000)


def header_without_end() -> Iterator[bytes]:
    yield OK + b"X-More: "
    yield from repeat(b"y" * (1 << 20), 3000)


def status_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 "
    yield from repeat(b"y" * (1 << 20), 3000)


def chunk_size_without_end() -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from repeat(b"0" * (1 << 20), 3000)


def trailers_without_end() -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    yield from repeat(b"X-More: " + b"y" * 60_000 + b"\r\n", 50_000)


@pytest.mark.parametrize(
    "talk",
    [
        redirect_without_end,
        fault_without_end,
        headers_without_end,
        header_without_end,
        status_without_end,
        chunk_size_without_end,
    ],
)
def test_what_stands_before_the_body_does_not_fill_the_memory(talk: Callable[[], Iterator[bytes]]) -> None:
    with talking(Talker(talk)) as talker:
        code = (
            "from flash_doctor.system import http\n"
            "http.PAUSE_SECONDS = 0\n"
            "began()\n"
            f"try: http.get_bytes({talker.url!r}, limit=1000)\n"
            "except http.HttpError: pass\n"
            "else: raise SystemExit('it was taken')\n"
        )
        assert peak_of(code) < 20 << 20
    assert talker.sent < MOST_IN_FLIGHT * max(1, talker.asked)


def drip() -> Iterator[bytes]:
    yield OK + b"X-More: "
    yield from repeat(b"y")


def one_header_after_the_other() -> Iterator[bytes]:
    yield OK
    yield from repeat(b"X: y\r\n", 90)
    yield from repeat(b"y")


def go_on_without_end() -> Iterator[bytes]:
    yield from repeat(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("talk", [drip, one_header_after_the_other, go_on_without_end])
def test_headers_that_never_end_are_given_up(
    talk: Callable[[], Iterator[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(http, "PAUSE_SECONDS", 0.0)
    with talking(Talker(talk, pause=0.02)) as talker:
        with pytest.raises(HttpError, match="no whole answer within"):
            get_bytes(talker.url, limit=1000)
        assert talker.asked == http.ATTEMPTS


def test_a_redirect_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hop is one question, and a circle ends."""
    with talking(Talker(lambda: iter([b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"]))) as talker:
        with pytest.raises(HttpError, match="sends in circles"):
            get_bytes(talker.url, limit=1000)
        assert talker.asked == http.REDIRECTS + 1


@pytest.mark.parametrize(
    "target", ["http://127.0.0.2/x", "ftp://127.0.0.1/x", "http://example.invalid/", "//h/x", "http://[::1"]
)
def test_a_redirect_elsewhere_is_not_followed(target: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    with talking(Talker(lambda: iter([head]))) as talker:
        with pytest.raises(HttpError, match="which is not https"):
            get_bytes(talker.url, limit=1000)
        assert talker.asked == 1
