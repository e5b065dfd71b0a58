"""Servers that answer a range with something else: what they could send, and what was taken of it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from flash_doctor.system import http
from flash_doctor.system.http import HttpError
from flash_doctor.system.part_file import CHUNK
from flash_doctor.system.ranges import RangeReader
from memory import peak_of

SIZE = 100_000
BODY = bytes(range(250)) * (SIZE // 250)
MOST_IN_FLIGHT = 16 << 20  # what the kernel may take of a server before it sees that nobody reads
Headers = dict[str, str]


@dataclass
class Liar:
    """Answers the first question as it should, and every later one by `lie(start, end)`: status, headers, body."""

    lie: Callable[[int, int], tuple[int, Headers, Iterator[bytes]]]
    first: Headers = field(default_factory=lambda: {"Content-Range": f"bytes 0-0/{SIZE}"})
    sent: int = 0
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    liar: ClassVar[Liar]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        start, _, end = wanted.removeprefix("bytes=").partition("-")
        if wanted == "bytes=0-0":
            status, headers, body = 206, {**self.liar.first, "Content-Length": "1"}, iter([b"P"])
        else:
            status, headers, body = self.liar.lie(int(start), int(end))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in body:
            self.wfile.write(piece)
            self.liar.sent += len(piece)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: that we hang up is what is tested."""


@contextmanager
def lying(liar: Liar) -> Iterator[Liar]:
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"liar": liar})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            liar.url = f"http://127.0.0.1:{server.server_address[1]}/x-1-py3-none-any.whl"
            yield liar
        finally:
            server.shutdown()
            thread.join()


def span(start: int, end: int, size: int = SIZE) -> Headers:
    return {"Content-Range": f"bytes {start}-{end}/{size}"}


def zeros(mebibytes: int = 3000) -> Iterator[bytes]:
    for _ in range(mebibytes):
        yield b"\0" * (1 << 20)


def packed(start: int, end: int) -> tuple[int, Headers, Iterator[bytes]]:
    body = gzip.compress(BODY[start : end + 1])
    return 206, {**span(start, end), "Content-Encoding": "gzip", "Content-Length": str(len(body))}, iter([body])


LIES: dict[str, Callable[[int, int], tuple[int, Headers, Iterator[bytes]]]] = {
    "without end": lambda start, end: (206, span(start, end), zeros()),
    "without end, a right length": lambda start, end: (
        206,
        {**span(start, end), "Content-Length": str(3000 << 20)},
        zeros(),
    ),
    "the whole file": lambda _start, _end: (200, {"Content-Length": str(SIZE)}, iter([BODY])),
    "the whole file without end": lambda _start, _end: (200, {}, zeros()),
    "a range under 200": lambda start, end: (200, span(start, end), iter([BODY[start : end + 1]])),
    "no Content-Range": lambda start, end: (206, {}, iter([BODY[start : end + 1]])),
    "another start": lambda start, end: (206, span(start + 1, end), iter([BODY[start + 1 : end + 1]])),
    "another end": lambda start, end: (206, span(start, end - 1), iter([BODY[start:end]])),
    "more than asked": lambda start, end: (206, span(start, end + 1), iter([BODY[start : end + 2]])),
    "of a file that grew": lambda start, end: (206, span(start, end, SIZE + 1), iter([BODY[start : end + 1]])),
    "of a file of unknown size": lambda start, end: (
        206,
        {"Content-Range": f"bytes {start}-{end}/*"},
        iter([BODY[start : end + 1]]),
    ),
    "of a file with too many digits": lambda start, end: (
        206,
        {"Content-Range": f"bytes {start}-{end}/{'9' * 5000}"},
        iter([BODY[start : end + 1]]),
    ),
    "shorter": lambda start, end: (206, span(start, end), iter([BODY[start:end]])),
    "nothing": lambda start, end: (206, span(start, end), iter([])),
    "one byte more": lambda start, end: (206, span(start, end), iter([BODY[start : end + 2]])),
    "packed": packed,
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_the_piece_that_was_asked_for_is_refused(lie: str) -> None:
    with lying(Liar(LIES[lie])) as liar:
        reader = RangeReader(liar.url)
        with pytest.raises(HttpError, match=r"another piece|before it was whole"):
            reader.read(1000, 65_536)
    assert reader.received <= 65_536 + CHUNK
    assert liar.sent < MOST_IN_FLIGHT


@pytest.mark.parametrize("lie", ["without end", "without end, a right length", "the whole file without end"])
def test_an_answer_without_end_does_not_fill_the_memory(lie: str) -> None:
    """In a process of its own, since only there the most that was ever taken is ours."""
    with lying(Liar(LIES[lie])) as liar:
        code = (
            "from flash_doctor.errors import DoctorError\n"
            "from flash_doctor.abi.wheel import OpenedWheel\n"
            "from flash_doctor.system.ranges import RangeReader\n"
            "began()\n"
            f"try: OpenedWheel(RangeReader({liar.url!r}), 'x-1-py3-none-any.whl')\n"
            "except DoctorError: pass\n"
            "else: raise SystemExit('it was taken')\n"
        )
        assert peak_of(code) < 20 << 20
    assert liar.sent < MOST_IN_FLIGHT


@pytest.mark.parametrize(
    "first",
    [
        {"Content-Range": f"bytes 0-0/{1 << 60}"},
        {"Content-Range": "bytes 0-0/0"},
        {"Content-Range": f"bytes 1-1/{SIZE}"},
        {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"},
    ],
    ids=lambda first: str(first["Content-Range"]),
)
def test_a_file_of_no_sane_size_is_not_begun(first: Headers) -> None:
    with lying(Liar(LIES["nothing"], first=first)) as liar, pytest.raises(HttpError, match="another piece"):
        RangeReader(liar.url)


def bomb(start: int, end: int) -> tuple[int, Headers, Iterator[bytes]]:
    body = gzip.compress(bytes(64 << 20), 1)
    return 200, {"Content-Encoding": "gzip", "Content-Length": str(len(body))}, iter([body])


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "deflate"])
def test_a_body_packed_in_an_unasked_way_is_refused(encoding: str) -> None:
    with (
        lying(Liar(lambda *_: (200, {"Content-Encoding": encoding}, iter([b"x" * 100])))) as liar,
        pytest.raises(HttpError, match="which was not asked for"),
    ):
        http.get_bytes(liar.url, limit=1000, headers={"Range": "bytes=1-2"})


def test_a_body_that_unpacks_without_end_is_counted_unpacked() -> None:
    with lying(Liar(bomb)) as liar:
        code = (
            "from flash_doctor.system.http import HttpError, get_bytes\n"
            "began()\n"
            f"try: get_bytes({liar.url!r}, limit=1 << 20, headers={{'Range': 'bytes=1-2'}})\n"
            "except HttpError as error: assert 'more than' in str(error)\n"
            "else: raise SystemExit('it was taken')\n"
        )
        assert peak_of(code) < 10 << 20
