"""/etc/ld.so.cache, read by us: which path the loader keeps for a library name (glibc's dl-cache.h format)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


# Old caches begin with a table for libc5 and carry the present format behind it.
_OLD, _NEW = b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sIIBxxxIxxxxxxxxxxxx")
_ENTRY = struct.Struct("<iIIIQ")
_EXTENSIONS_MAGIC, _HWCAPS_TAG = 0xEAA42174, 1
_HWCAPS_MARK = 1 << 62
# ELF class and kind of libc an entry is for (glibc's FLAG_..._LIB64 | FLAG_ELF_LIBC6)
_FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03}
_SIZE_LIMIT = 64 << 20


def read_cache(path: Path, machine: str, hwcaps: Sequence[str] = ()) -> dict[str, Path]:
    """Library name to path for one machine; of several the one for the best of `hwcaps` (best first).

    Empty where there is no cache, or where it is not one: the loader then goes on to its default folders.
    """
    try:
        with path.open("rb") as file:
            return parse_cache(file.read(_SIZE_LIMIT), machine, hwcaps)
    except OSError:
        return {}


def parse_cache(data: bytes, machine: str, hwcaps: Sequence[str] = ()) -> dict[str, Path]:
    """The same from the bytes of a cache; entries that point outside of it are left out."""
    start = _start(data)
    if start < 0 or len(data) < start + _HEADER.size:
        return {}
    cache = memoryview(data)[start:]
    _, count, _, _, extensions = _HEADER.unpack_from(cache)
    count = min(count, (len(cache) - _HEADER.size) // _ENTRY.size)
    # rank of a CPU level's folder; what needs no level comes after all of them
    ranks = {name: rank for rank, name in enumerate(hwcaps)}
    levels = _levels(cache, extensions)
    best: dict[str, tuple[int, int]] = {}
    rows = _ENTRY.iter_unpack(cache[_HEADER.size : _HEADER.size + count * _ENTRY.size])
    for flags, key, value, _, hwcap in rows:
        rank = _rank(hwcap, levels, ranks)
        if flags != _FLAGS.get(machine) or rank is None:
            continue
        name = _text(cache, key)
        if name and (name not in best or rank < best[name][0]):
            best[name] = (rank, value)
    return {name: Path(path) for name, (_, value) in best.items() if (path := _text(cache, value))}


def _start(data: bytes) -> int:
    if data.startswith(_NEW):
        return 0
    if not data.startswith(_OLD) or len(data) < 16:
        return -1
    (count,) = struct.unpack_from("<I", data, 12)
    start = (16 + 12 * count + 7) // 8 * 8
    return start if data[start : start + len(_NEW)] == _NEW else -1


def _rank(hwcap: int, levels: Sequence[str], ranks: Mapping[str, int]) -> int | None:
    """How good an entry is for this CPU (0 best); None where the CPU cannot run it."""
    if not hwcap:
        return len(ranks)
    index = hwcap & 0xFFFFFFFF
    if hwcap >> 32 != _HWCAPS_MARK >> 32 or index >= len(levels):
        return None
    return ranks.get(levels[index])


def _levels(cache: memoryview, at: int) -> tuple[str, ...]:
    """Names of the CPU levels (x86-64-v3 ...) that entries refer to by number."""
    if not at or at + 8 > len(cache):
        return ()
    magic, count = struct.unpack_from("<II", cache, at)
    if magic != _EXTENSIONS_MAGIC or at + 8 + 16 * count > len(cache):
        return ()
    for tag, _, offset, size in struct.iter_unpack("<IIII", cache[at + 8 : at + 8 + 16 * count]):
        if tag == _HWCAPS_TAG and offset + size <= len(cache):
            words = struct.iter_unpack("<I", cache[offset : offset + size // 4 * 4])
            return tuple(_text(cache, word) for (word,) in words)
    return ()


def _text(cache: memoryview, at: int) -> str:
    """The name at an offset, at most 4096 bytes; empty where it has no end."""
    text, end, _ = bytes(cache[at : at + 4096]).partition(b"\0")
    return text.decode("utf-8", "surrogateescape") if end else ""


_TOKEN = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")
# What a CPU must have for each level, in /proc/cpuinfo's words (x86-64 psABI, "micro-architecture levels")
_LEVELS = (
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)


@dataclass(frozen=True)
class LoaderSettings:
    """The loader's own settings: the machine, its cache, its built-in folders, the CPU's levels (best first)."""

    machine: str
    lib: str
    folders: tuple[Path, ...]
    hwcaps: tuple[str, ...]
    cache_file: Path

    @classmethod
    def of(cls, machine: str, interpreter: str | None) -> LoaderSettings:
        """This machine's settings, for a program with that loader (PT_INTERP)."""
        triplet = f"lib/{machine}-linux-gnu"
        multiarch = interpreter is not None and triplet in str(Path(interpreter).resolve())
        names = (triplet, "lib64", "lib") if multiarch else ("lib64", "lib", triplet)
        return cls(
            machine=machine,
            lib=triplet if multiarch else "lib64",
            folders=tuple(Path(root) / name for name in names for root in ("/", "/usr")),
            hwcaps=cpu_levels(Path("/proc/cpuinfo")) if machine == "x86_64" else (),
            cache_file=Path("/etc/ld.so.cache"),
        )

    @cached_property
    def cache(self) -> dict[str, Path]:
        return read_cache(self.cache_file, self.machine, self.hwcaps)

    def is_builtin(self, path: Path) -> bool:
        return path.parent in self.folders

    def expand(self, text: str, origin: Path) -> str:
        """A path with `$ORIGIN` (folder of the file that names it), `$LIB` and `$PLATFORM` filled in."""
        values = {"ORIGIN": str(origin), "LIB": self.lib, "PLATFORM": self.machine}
        return _TOKEN.sub(lambda match: values[match[1] or match[2]], text)

    def within(self, folder: Path, name: str) -> Iterator[Path]:
        """The places of a library in one folder: those for this CPU's levels first."""
        levels = folder / "glibc-hwcaps"
        if self.hwcaps and levels.is_dir():
            yield from (levels / level / name for level in self.hwcaps)
        yield folder / name


def cpu_levels(cpuinfo: Path) -> tuple[str, ...]:
    """The x86-64 levels that this CPU reaches, best first; none where it cannot be told."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    reached: list[str] = []
    for name, wanted in _LEVELS:
        if not wanted <= flags:
            break
        reached.insert(0, name)
    return tuple(reached)


def folders(paths: Sequence[str], system: LoaderSettings, origin: Path) -> Iterator[Path]:
    """Folders of a search path; an empty element is the working directory."""
    return (Path(system.expand(path, origin) or ".") for path in paths)


def split_path(value: str) -> tuple[str, ...]:
    """The elements of LD_LIBRARY_PATH, which may be parted by colons and semicolons."""
    return tuple(re.split("[:;]", value)) if value else ()
