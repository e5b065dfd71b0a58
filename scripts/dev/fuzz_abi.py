"""Coverage-guided fuzzing of the readers of foreign files, by atheris (pip install atheris; it is no dependency).

    python scripts/dev/fuzz_abi.py elf -max_total_time=300
    python scripts/dev/fuzz_abi.py ldcache|wheel|names -max_total_time=60 [CORPUS]

What follows the reader's name goes to libFuzzer. A BadInput is a good answer; any other exception, five seconds or
512 MB for one input is a fault, and libFuzzer keeps the input. Without a corpus one is made of files of this machine.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

with atheris.instrument_imports():
    from flash_doctor.abi.binary import read_binary
    from flash_doctor.abi.demangle import cxx11_strings, demangle
    from flash_doctor.abi.elf import Elf
    from flash_doctor.abi.ldcache import parse_cache
    from flash_doctor.abi.symbols import Wanted, exported_names, exports
    from flash_doctor.abi.wheel import Wheel
    from flash_doctor.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMITS = ["-timeout=5", "-rss_limit_mb=512", "-max_len=200000", "-len_control=0"]
WHEEL = "thing-1.0-py3-none-any.whl"
SEED_LIMIT = 150_000


class Memory:
    """A source (see abi.inflate) that lies in memory."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, start: int, length: int) -> bytes:
        return self.data[start : start + length]

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        yield self.read(start, length)


def elf(data: bytes) -> None:
    read_binary(data, "fuzzed.so")
    file = Elf(data, "fuzzed.so")
    for name in ("PyInit_fuzzed", "malloc"):
        exports(file, Wanted(name=name))
        exports(file, Wanted(name=name, version="GLIBC_2.2.5"))
    for _ in zip(range(1000), exported_names(file), strict=False):
        pass


def wheel(data: bytes) -> None:
    opened = Wheel(Memory(data), WHEEL)
    for name in opened.binaries[:4]:
        opened.read_binary(name)
    for part in ("metadata", "record", "metadata_tags"):
        getattr(opened, part)


def ldcache(data: bytes) -> None:
    parse_cache(data, "x86_64", ["x86-64-v3", "x86-64-v2"])


def names(data: bytes) -> None:
    name = "_Z" + data.decode("ascii", "ignore")
    demangle(name)
    cxx11_strings([name])


READERS: dict[str, Callable[[bytes], None]] = {"elf": elf, "wheel": wheel, "ldcache": ldcache, "names": names}


def seeds(reader: str) -> list[bytes]:
    """Small real files of the kind that the reader reads."""
    modules = Path(next(path for path in sys.path if path.endswith("lib-dynload"))).glob("*.so")
    small = sorted((path for path in modules if path.stat().st_size < SEED_LIMIT), key=lambda path: path.stat().st_size)
    binaries = [path.read_bytes() for path in small[:12]]
    made = {
        "elf": binaries,
        "wheel": [packed(binary, method) for binary in binaries[:4] for method in (0, 8)],
        "ldcache": [Path("/etc/ld.so.cache").read_bytes()[:SEED_LIMIT]],
        "names": [b"N3c105ErrorC1ENS_14SourceLocationESs", b"NSt6vectorIN2at6TensorESaIS1_EE9push_backERKS1_"],
    }
    return made[reader]


def packed(binary: bytes, method: int) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr("thing/_C.so", binary)
            archive.writestr("thing-1.0.dist-info/METADATA", "Name: thing\nVersion: 1.0\n")
            archive.writestr("thing-1.0.dist-info/WHEEL", "Tag: py3-none-any\n")
            archive.writestr("thing-1.0.dist-info/RECORD", "thing/_C.so,sha256=x,1\n")
        return file.getvalue()


def main() -> None:
    reader, options = sys.argv[1], sys.argv[2:]
    read = READERS[reader]

    def one(data: bytes) -> None:
        with contextlib.suppress(BadInput):
            read(data)

    with tempfile.TemporaryDirectory() as folder:
        for index, seed in enumerate(seeds(reader)):
            Path(folder, str(index)).write_bytes(seed)
        corpus = [] if any(not option.startswith("-") for option in options) else [folder]
        atheris.Setup([sys.argv[0], *LIMITS, *options, *corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
