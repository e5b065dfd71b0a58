"""What one torch release on the package index exports: found by uv, read from its wheel through range requests.

The symbol tables of torch's libraries lie partly at the end of gigabyte-sized, compressed members, so each member
is streamed and inflated once; only its two ends (`WINDOW`) are ever held, and nothing is written to disk.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
import zipfile
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from packaging.utils import parse_wheel_filename
from packaging.version import Version
from urllib3.exceptions import HTTPError

from flash_doctor.abi.elf import Elf
from flash_doctor.abi.symbols import exported_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIBRARIES = (
    "libc10.so",
    "libc10_cuda.so",
    "libtorch.so",
    "libtorch_cpu.so",
    "libtorch_cuda.so",
    "libtorch_cuda_linalg.so",
    "libtorch_python.so",
)
WINDOW = 256 << 20
CHUNK = 1 << 20
ATTEMPTS = 8


class CannotRead(Exception):
    """A release, a wheel or a library that is not what the atlas is made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel on the index: `uploaded` is an ISO date, `sha256` the index's."""

    version: Version
    name: str
    url: str
    sha256: str
    uploaded: str


def find_wheel(specifier: str, *, uv: str = "uv", python: str = "3.11", platform: str) -> Wheel:
    """The newest wheel that `torch` + specifier names on the configured index; nothing is downloaded.

    Raises:
        CannotRead: nothing fits, or the answer is a local file or another build than the index's own.
    """
    command = [uv, "pip", "compile", "--quiet", "--no-deps", "--no-header", "--format", "pylock.toml"]
    command += ["--python-version", python, "--python-platform", platform, "-"]
    done = subprocess.run(command, input=f"torch{specifier}\n", capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"torch{specifier} on {platform}: {done.stderr.strip()[-400:]}"
        raise CannotRead(message)
    return _only_wheel(tomllib.loads(done.stdout))


def _only_wheel(lock: dict[str, Any]) -> Wheel:
    """The wheel an installer takes (the highest build tag), dated by the first upload of the release."""
    (package,) = lock["packages"]
    version, found = Version(package["version"]), package.get("wheels", [])
    urls = [wheel.get("url", "") for wheel in found]
    if version.local or not urls or not all(url.startswith("https://") for url in urls):
        message = f"torch {version} is answered with {found or package}: not the index's own build"
        raise CannotRead(message)
    best = max(found, key=lambda wheel: parse_wheel_filename(_file_name(wheel["url"]))[2])
    return Wheel(
        version=version,
        name=_file_name(best["url"]),
        url=best["url"],
        sha256=best["hashes"]["sha256"],
        uploaded=min(wheel["upload-time"] for wheel in found).date().isoformat(),
    )


def _file_name(url: str) -> str:
    return url.rpartition("/")[2]


def find_releases(oldest: Version, **where: str) -> Iterator[Wheel]:
    """Every final release from the newest on the index down to `oldest`, which must be one itself."""
    wheel = find_wheel(f">={oldest}", **where)
    yield wheel
    while wheel.version > oldest:
        wheel = find_wheel(f">={oldest},<{wheel.version}", **where)
        yield wheel


class RangeFile(io.RawIOBase):
    """A remote file as a seekable stream: sequential reads share one request, a lost connection is resumed."""

    def __init__(self, url: str) -> None:
        self.url, self.position, self.received = url, 0, 0
        self.session = requests.Session()
        self.response: requests.Response | None = None
        head = self._request("bytes=0-0")
        self.size = int(head.headers["Content-Range"].rpartition("/")[2])
        head.close()

    def _request(self, span: str) -> requests.Response:
        headers = {"Range": span, "Accept-Encoding": "identity"}
        response = self.session.get(self.url, headers=headers, stream=True, timeout=60)
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            message = f"{self.url.rpartition('/')[2]}: the server does not answer range requests"
            raise CannotRead(message)
        return response

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if start + offset != self.position:
            self._drop()
        self.position = start + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self.size - self.position)
        data = self._read(wanted) if wanted > 0 else b""
        buffer[: len(data)] = data
        self.position += len(data)
        self.received += len(data)
        return len(data)

    def _read(self, wanted: int) -> bytes:
        for attempt in range(ATTEMPTS):
            try:
                if self.response is None:
                    self.response = self._request(f"bytes={self.position}-")
                data: bytes = self.response.raw.read(wanted)
            except (requests.RequestException, OSError, HTTPError) as error:
                print(f"  {error}; trying again", file=sys.stderr)
                time.sleep(attempt)
            else:
                if data:
                    return data
            self._drop()
        message = f"{self.url.rpartition('/')[2]}: no data at {self.position} after {ATTEMPTS} attempts"
        raise CannotRead(message)

    def _drop(self) -> None:
        if self.response is not None:
            self.response.close()
            self.response = None

    def close(self) -> None:
        self._drop()
        self.session.close()
        super().close()


class Ends:
    """Both ends of a stream of any length, the last `window` bytes and a quarter of that of the first.

    A buffer for the readers of binaries: the dynamic table of torch 2.0's libtorch_cpu lies 106 MB before its end.
    """

    def __init__(self, stream: Any, window: int = WINDOW, chunk: int = CHUNK) -> None:
        self.window, self.head, self.length = window, bytearray(), 0
        last: deque[bytes] = deque(maxlen=window // chunk + 1)
        while piece := stream.read(chunk):
            self.length += len(piece)
            last.append(piece)
            if len(self.head) < window // 4:
                self.head += piece
        self.tail = b"".join(last)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self.length)
        if stop <= len(self.head):
            return bytes(self.head[start:stop])
        begin = self.length - len(self.tail)
        if start >= begin:
            return self.tail[start - begin : stop - begin]
        message = f"bytes {start} to {stop} of {self.length} were not kept: the window of {self.window} is too small"
        raise CannotRead(message)

    def find(self, wanted: bytes, start: int, end: int) -> int:
        """As bytes.find; the range lies in one of the two windows."""
        found = self[start:end].find(wanted)
        return found if found < 0 else start + found


def read_exports(wheel: Wheel, libraries: Sequence[str] = LIBRARIES) -> tuple[dict[str, set[str]], int]:
    """The exported names of torch's libraries in a wheel, and the bytes received for them.

    Raises:
        CannotRead: the wheel lacks one of them, or the index stops answering.
        BadBinary, zipfile.BadZipFile: the wheel or the library is damaged.
    """
    remote, names = RangeFile(wheel.url), {}
    with zipfile.ZipFile(io.BufferedReader(remote, CHUNK)) as archive:
        for library in libraries:
            try:
                stream = archive.open(f"torch/lib/{library}")
            except KeyError as error:
                message = f"{wheel.name} has no torch/lib/{library}: has torch divided its libraries anew?"
                raise CannotRead(message) from error
            with stream:
                names[library] = set(exported_names(Elf(Ends(stream), library)))
    return names, remote.received
