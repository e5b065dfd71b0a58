"""Seeds that are binary, and where their numbers lie: ELF, GPU code, zip, tar, caches of the loader, pickles."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import pickle
import re
import struct
import sysconfig
import tarfile
import zipfile
from functools import lru_cache
from pathlib import Path

Places = tuple[tuple[int, int], ...]
_SMALL = 60_000


def real_binaries() -> list[bytes]:
    """The smallest extension modules of this Python."""
    modules = Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("*.so")
    small = sorted((path for path in modules if path.stat().st_size < _SMALL), key=lambda path: path.stat().st_size)
    return [path.read_bytes() for path in small[:8]]


@lru_cache(maxsize=64)
def elf_places(data: bytes) -> Places:
    """Every number of the headers, of the dynamic section, of the first symbols and relocations, of the hash table."""
    if data[:4] != b"\x7fELF" or len(data) < 64:
        return ()
    found = [
        (4, 1),
        (5, 1),
        (16, 2),
        (18, 2),
        (20, 4),
        (24, 8),
        (32, 8),
        (40, 8),
        *((at, 2) for at in range(52, 64, 2)),
    ]
    segments, sections = struct.unpack_from("<QQ", data, 32)
    _, segment_count, _, section_count, _ = struct.unpack_from("<5H", data, 54)
    for number in range(segment_count):
        at = segments + 56 * number
        found += [(at, 4), (at + 4, 4), *((at + 8 * word, 8) for word in range(1, 7))]
    for number in range(section_count):
        at = sections + 64 * number
        found += [
            (at, 4),
            (at + 4, 4),
            (at + 40, 4),
            (at + 44, 4),
            *((at + word, 8) for word in (8, 16, 24, 32, 48, 56)),
        ]
        if at + 64 <= len(data):
            kind, offset, size = struct.unpack_from("<I", data, at + 4)[0], *struct.unpack_from("<QQ", data, at + 24)
            found += _inside(kind, offset, min(size, 24 * 40))
    return tuple((at, width) for at, width in found if at + width <= len(data))


def _inside(kind: int, offset: int, size: int) -> list[tuple[int, int]]:
    """Numbers in the content of a section of that type (elf.h)."""
    if kind in (6, 4):  # dynamic, relocations with addends
        return [(offset + at, 8) for at in range(0, size, 8)]
    if kind in (2, 11):  # symbols
        return [
            (offset + at + inner, width)
            for at in range(0, size, 24)
            for inner, width in ((0, 4), (6, 2), (8, 8), (16, 8))
        ]
    if kind in (0x6FFFFFF6, 5, 0x6FFFFFFE, 0x6FFFFFFD, 0x6FFFFFFF):  # hash tables, versions
        return [(offset + at, 4) for at in range(0, min(size, 400), 4)]
    return []


def with_gpu_code() -> list[bytes]:
    """Binaries that hold nothing but chains of GPU code."""
    chains = [
        _chain(_entry(2, 90, 1 << 20), _entry(1, 90)),
        _chain(*(_entry(2, arch) for arch in (70, 75, 80, 86, 89, 100, 120))),
        _chain(_entry(2, 100, 1 << 21)) + _chain(_entry(1, 120)) * 3,
    ]
    return [_elf_of(content) for content in chains]


def _entry(kind: int, arch: int, flags: int = 0x11) -> bytes:
    payload = b"\0" * 24
    head = struct.pack("<HHIQ", kind, 0x101, 64, len(payload)).ljust(28, b"\0") + struct.pack("<I", arch)
    return (head.ljust(40, b"\0") + struct.pack("<Q", flags)).ljust(64, b"\0") + payload


def _chain(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def _elf_of(content: bytes) -> bytes:
    """A shared object of one section, `.nv_fatbin`."""
    names = b"\0.nv_fatbin\0.shstrtab\0"
    start, size = 64, len(content)
    table = start + size + len(names)
    head = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, table, 0, 64, 56, 0, 64, 3, 2
    )
    sections = [(0, 0, 0, 0), (1, 1, start, size), (12, 3, start + size, len(names))]
    rows = [struct.pack("<IIQQQQIIQQ", name, kind, 2, 0, at, long, 0, 0, 8, 0) for name, kind, at, long in sections]
    return head + content + names + b"".join(rows)


@lru_cache(maxsize=16)
def gpu_places(data: bytes) -> Places:
    found = [
        (at + inner, width)
        for at in _at(data, b"\x50\xed\x55\xba")
        for inner, width in ((0, 4), (4, 2), (6, 2), (8, 8))
    ]
    found += [
        (at + inner, width)
        for at in _at(data, struct.pack("<HI", 0x101, 64))
        for inner, width in ((-2, 2), (0, 2), (2, 4), (6, 8), (26, 4), (38, 8))
    ]
    return tuple(found * 3) + elf_places(data)


def _at(data: bytes, wanted: bytes) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(wanted), data)]


def cache_of_loader() -> list[bytes]:
    """The one of this machine, cut, and a small one made by hand."""
    texts = b"libx.so.1\0/lib/libx.so.1\0liby.so\0/usr/lib/glibc-hwcaps/x86-64-v3/liby.so\0"
    head = b"glibc-ld.so.cache1.1" + struct.pack("<II", 2, len(texts)).ljust(28, b"\0")
    base = len(head) + 48
    rows = [
        struct.pack("<iIIIQ", 0x303, base + name, base + path, 0, hwcap)
        for name, path, hwcap in ((0, 10, 0), (25, 33, 1))
    ]
    made = head + b"".join(rows) + texts
    real = Path("/etc/ld.so.cache")
    return [made, *([real.read_bytes()[:20_000]] if real.is_file() else [])]


def cache_places(data: bytes) -> Places:
    return tuple((at, 4) for at in range(0, min(len(data) - 4, 1200), 4))


METADATA = """Metadata-Version: 2.1
Name: thing
Version: 1.0
Requires-Python: >=3.9
Requires-Dist: torch (>=2.0)
Requires-Dist: einops ; extra == 'all'

A description: of it.
"""
TAGS = "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\nTag: py2.py3-none-any\n"
PROGRAMS = "[console_scripts]\nthing = thing:main\n\n[gui_scripts]\nwindow=thing:show\n"


def wheel_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A wheel of these files and a RECORD of them, which is left out where one is given."""
    info = "thing-1.0.dist-info"
    rows = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in members.items()]
    whole = {**members, f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,"]).encode(), **members}
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, content in whole.items():
                archive.writestr(zipfile.ZipInfo(name), content, method)
        return file.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def parts(name: str = "thing-1.0.dist-info") -> dict[str, bytes]:
    texts = {"METADATA": METADATA, "WHEEL": TAGS, "entry_points.txt": PROGRAMS}
    return {f"{name}/{key}": text.encode() for key, text in texts.items()}


def wheels() -> list[bytes]:
    binary = real_binaries()[0]
    members = {"thing/__init__.py": b"", "thing/_C.so": binary, **parts()}
    return [wheel_of(members, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


_ZIP_FIELDS = {
    b"PK\3\4": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\1\2": (
        (6, 2),
        (8, 2),
        (10, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 2),
        (30, 2),
        (32, 2),
        (34, 2),
        (38, 4),
        (42, 4),
    ),
    b"PK\5\6": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    b"PK\6\6": ((4, 8), (12, 2), (16, 4), (24, 8), (32, 8), (40, 8), (48, 8)),
    b"PK\6\7": ((4, 4), (8, 8), (16, 4)),
}


@lru_cache(maxsize=16)
def zip_places(data: bytes) -> Places:
    return tuple(
        (at + inner, width) for mark, fields in _ZIP_FIELDS.items() for at in _at(data, mark) for inner, width in fields
    )


def source_archives() -> list[bytes]:
    """Uncompressed, so that a change reaches a header; the reader packs every second one again."""
    found = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with io.BytesIO() as file:
            with tarfile.open(fileobj=file, mode="w", format=form) as tar:
                for name, kind, target in _TREE:
                    info = tarfile.TarInfo(name if form == tarfile.USTAR_FORMAT else name + "n" * 120)
                    info.type, info.linkname, info.size = kind, target, 5 if kind == tarfile.REGTYPE else 0
                    tar.addfile(info, io.BytesIO(b"hello"))
            found.append(file.getvalue())
    return found


_TREE = (
    ("x-1", tarfile.DIRTYPE, ""),
    ("x-1/setup.py", tarfile.REGTYPE, ""),
    ("x-1/a/b", tarfile.REGTYPE, ""),
    ("x-1/link", tarfile.SYMTYPE, "a/b"),
    ("x-1/same", tarfile.LNKTYPE, "x-1/setup.py"),
)


def tar_places(data: bytes) -> Places:
    """Name, mode, size, checksum, type and name of a link, of every block that may be a header."""
    blocks = range(0, max(0, len(data) - 512), 512)
    return tuple(
        (at + inner, 1)
        for at in blocks
        for inner in (0, 1, 4, 100, 107, 124, 128, 134, 135, 148, 153, 156, 157, 160, 257, 345)
    )


def with_checksums(data: bytes) -> bytes:
    """The blocks that look like headers with a checksum that fits, or nothing behind a change would be reached."""
    blocks = bytearray(data)
    for at in range(0, len(blocks) - 511, 512):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])
    return bytes(blocks)


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


ARGUMENTS = {
    "save_total_limit": 3,
    "save_steps": 500.0,
    "fp16": True,
    "lr_scheduler_type": "cosine",
    "max_steps": -1,
    "a": [2**40],
}


def pickles() -> list[bytes]:
    return [pickle.dumps(ARGUMENTS, protocol) for protocol in range(6)]


def saved(pickled: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """As torch.save writes it."""
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickled, method)
        return file.getvalue()


def safetensors() -> list[bytes]:
    header = b'{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[4,2],"data_offsets":[0,32]}}'
    return [struct.pack("<Q", len(header)) + header + bytes(32)]
