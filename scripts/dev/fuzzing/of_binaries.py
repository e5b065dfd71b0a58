"""Readers of compiled files, of archives, and of what is packed in them."""

from __future__ import annotations

import contextlib
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.system.archive import BadArchive
from flash_doctor.watch.trainer_files import Unreadable
from fuzzing import binaries
from fuzzing.mutate import damaged, text_of
from fuzzing.registry import file, reader, scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEEL = "thing-1.0-cp311-cp311-linux_x86_64.whl"


class Memory:
    """A source (see abi.inflate) that lies in memory."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, start: int, length: int) -> bytes:
        return self.data[start : start + length]

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        yield self.read(start, length)


@reader("elf", binaries.real_binaries, partial(damaged, fields=binaries.elf_places))
def elf(data: bytes) -> None:
    from flash_doctor.abi.binary import read_binary
    from flash_doctor.abi.elf import Elf
    from flash_doctor.abi.symbols import WantedSymbol, exported_names, exports

    read_binary(data, "fuzzed.so")
    opened = Elf(data, "fuzzed.so")
    for name in ("PyInit_fuzzed", "malloc"):
        exports(opened, WantedSymbol(name=name))
        exports(opened, WantedSymbol(name=name, version="GLIBC_2.2.5"))
    for _ in zip(range(1000), exported_names(opened), strict=False):
        pass


@reader("linker", binaries.real_binaries, partial(damaged, fields=binaries.elf_places), slow=True)
def linker(data: bytes) -> None:
    """A module of a target, against what a real import of it would find on this machine."""
    from flash_doctor.abi.linker import link

    link(file("linked.so", data), Path(sys.executable), None, {})


@reader("fatbin", binaries.with_gpu_code, partial(damaged, fields=binaries.gpu_places))
def fatbin(data: bytes) -> None:
    from flash_doctor.abi.elf import Elf
    from flash_doctor.abi.fatbin import GpuCode, gpu_code, parse_arch
    from flash_doctor.model import Capability

    found = gpu_code(Elf(data, "fuzzed.so"))
    if isinstance(found, GpuCode):
        found.runs_on(Capability(major=9, minor=0))
        for arch in (*found.sass, *found.ptx):
            assert parse_arch(str(arch)) == arch


@reader("loader-cache", binaries.cache_of_loader, partial(damaged, fields=binaries.cache_places))
def loader_cache(data: bytes) -> None:
    from flash_doctor.abi.search import parse_cache
    from flash_doctor.probe.loader import cached

    parse_cache(data, "x86_64", ["x86-64-v3", "x86-64-v2"])
    file("root/etc/ld.so.cache", data)
    cached("libx.so.1", scratch() / "root")


_NAMES = [
    "_ZN3c105ErrorC1ENS_14SourceLocationESs",
    "_ZNSt6vectorIN2at6TensorESaIS1_EE9push_backERKS1_",
    "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jbPNS0_19CUDAErrorLogCaptureE",
    "_ZN5torch3jit6parseStERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
]
_PIECES = [*"NStEIKRPFSLZDTW_0129vbicjm", "St", "NSt7__cxx11", "S_", "T_", "1x", "999999x", "XspL_", "Dp", "cv"]


@reader("demangle", lambda: _NAMES, partial(text_of, words=_PIECES))
def names(data: bytes) -> None:
    from flash_doctor.abi.demangle import cxx11_strings, demangle

    name = data.decode("utf-8", "replace")
    demangle(name)
    cxx11_strings([name, *name.split()])


def read_wheel(data: bytes) -> None:
    from flash_doctor.abi.inspection import describe
    from flash_doctor.abi.wheel import OpenedWheel

    opened = OpenedWheel(Memory(data), WHEEL)
    describe(opened, "fuzzed")
    for name in opened.binaries[:3]:
        opened.read_binary(name)
    for part in ("metadata", "record", "metadata_tags"):
        getattr(opened, part)


reader("wheel", binaries.wheels, partial(damaged, fields=binaries.zip_places))(read_wheel)


def _metadata(name: str, data: bytes) -> bytes:
    parts = binaries.parts()
    return binaries.wheel_of({"thing/__init__.py": b"", **parts, f"thing-1.0.dist-info/{name}": data})


_FIELDS = [
    "Name",
    "Version",
    "Requires-Dist",
    "Requires-Python",
    "Tag",
    ":",
    "Tag: py3-none-any",
    "=?utf-8?q?x?=",
    "\n",
    "\n\n",
]
_TAG_WORDS = ["Tag", ":", "-", ".", "py3", "cp311", "any", "none", "py2.py3", "Tag: a.b-c.d-e.f\n", "\n"]
_ROWS = ["thing/a.py,sha256=AAAA,12\n", ",", '"', "\n", "..", "/", "sha256=", "\r\n", "thing/__init__.py,,\n"]


@reader("wheel-metadata", lambda: [binaries.METADATA], partial(text_of, words=_FIELDS))
def wheel_metadata(data: bytes) -> None:
    read_wheel(_metadata("METADATA", data))


@reader("wheel-tags", lambda: [binaries.TAGS], partial(text_of, words=_TAG_WORDS))
def wheel_tags(data: bytes) -> None:
    read_wheel(_metadata("WHEEL", data))


@reader("wheel-record", lambda: ["thing/a.py,sha256=AAAA,12\nthing/b.py,,\n"], partial(text_of, words=_ROWS))
def wheel_record(data: bytes) -> None:
    read_wheel(_metadata("RECORD", data))


@reader("installed-record", lambda: ["thing/a.py,sha256=AAAA,12\n../../bin/x,,\n"], partial(text_of, words=_ROWS))
def installed_record(data: bytes) -> None:
    """Of a distribution that is there: as the script in the target reads it, and as the transaction does."""
    from flash_doctor.probe import inside
    from flash_doctor.system.bounds import record_rows

    path = file("site/thing-1.0.dist-info/RECORD", data)
    inside.shared_objects(str(path))
    inside.compare_record(str(scratch() / "site"), str(path), deep=True)
    with contextlib.suppress(ValueError):
        record_rows(path)


_SECTIONS = [
    "[console_scripts]",
    "[gui_scripts]",
    "=",
    ":",
    "a = b:c",
    "\n",
    " ",
    "[",
    "]",
    "../x = y:z",
    "#",
    ";",
    "%(x)s",
]


@reader("wheel-programs", lambda: [binaries.PROGRAMS], partial(text_of, words=_SECTIONS))
def wheel_programs(data: bytes) -> None:
    from flash_doctor.install.gather import unpacked_size
    from flash_doctor.install.staging import check_names

    path = file(WHEEL, _metadata("entry_points.txt", data))
    check_names(path)
    unpacked_size(path)


@reader("zip", binaries.wheels, partial(damaged, fields=binaries.zip_places))
def zip_file(data: bytes) -> None:
    """As the transaction and the wheelhouse look into it before an installer does."""
    from flash_doctor.install.staging import check_names
    from flash_doctor.resolve.sources.matrix import Wheels
    from flash_doctor.resolve.sources.wheelhouse import read_wheelhouse

    path = file(f"house/{WHEEL}", data)
    read_wheelhouse(path.parent, Wheels(groups=()))
    check_names(path)


def _tar(random: object, seeds: list[bytes]) -> bytes:
    data = damaged(random, seeds, fields=binaries.tar_places)  # type: ignore[arg-type]
    return binaries.packed(binaries.with_checksums(data)) if len(data) % 3 else binaries.with_checksums(data)


@reader("source-archive", binaries.source_archives, _tar, allowed=(BadArchive,))
def source_archive(data: bytes) -> None:
    from flash_doctor.system.archive import Limits, extract

    out = scratch() / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    before = set(scratch().iterdir())
    try:
        extract(file("source.tar.gz", data), out, Limits(entries=200, size=1 << 20, depth=32))
    finally:
        _stayed_inside(out, before)


def _stayed_inside(out: Path, before: set[Path]) -> None:
    assert set(scratch().iterdir()) - before <= {scratch() / "source.tar.gz"}, "something was written beside the folder"
    assert all(path.resolve().is_relative_to(out) for path in out.rglob("*")), "a link leads out of the folder"


def _saved(random: object, seeds: list[bytes]) -> bytes:
    return binaries.saved(damaged(random, seeds))  # type: ignore[arg-type]


def _arguments(data: bytes) -> None:
    from flash_doctor.watch.trainer_files import read_settings

    settings = read_settings(file("training_args.bin", data))
    for name in ("save_total_limit", "save_steps", "max_steps"):
        settings.whole(name)
        settings.text(name)
    assert settings.evaluates in (True, False)


reader("trainer-pickle", binaries.pickles, _saved, allowed=(Unreadable,))(
    lambda data: _arguments(data if data[:2] == b"PK" else binaries.saved(data))
)
reader(
    "trainer-archive",
    lambda: [binaries.saved(pickled, method) for pickled in binaries.pickles()[2:4] for method in (0, 8)],
    partial(damaged, fields=binaries.zip_places),
    allowed=(Unreadable,),
)(_arguments)


@reader("gzip-rows", lambda: [binaries.packed(b'{"text": "a"}\n' * 40)], damaged)
def packed_rows(data: bytes) -> None:
    from flash_doctor.preflight.gather.rows import RowReader

    RowReader(10).read(file("rows.jsonl.gz", data))
