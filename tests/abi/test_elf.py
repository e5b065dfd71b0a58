"""The ELF reader: against pyelftools on real files, on files made for one rule each, and on damaged ones."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from hypothesis import HealthCheck, given, settings, strategies as st

from compiled import child, references, shared, versioned
from fakes import CountingBuffer
from flash_doctor.abi.binary import read_binary
from flash_doctor.abi.buffer import mapped
from flash_doctor.abi.elf import Elf
from flash_doctor.abi.symbols import WantedSymbol, exported_names, exports, wanted_symbols
from flash_doctor.errors import BadBinary


def system_libraries() -> list[Path]:
    """Libraries that this interpreter has in its own process: real, and of many makers."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    paths = {line.split(maxsplit=5)[5] for line in maps if line.endswith(".so") or ".so." in line}
    return sorted(Path(path) for path in paths if Path(path).is_file())[:12]


@pytest.mark.parametrize("path", system_libraries(), ids=lambda path: path.name)
def test_the_same_as_pyelftools(path: Path) -> None:
    with path.open("rb") as file, mapped(path) as data:
        other, ours = ELFFile(file), Elf(data, path.name)
        (dynamic,) = (segment for segment in other.iter_segments() if isinstance(segment, DynamicSegment))
        tags: list[Any] = list(dynamic.iter_tags())
        assert list(ours.needed) == [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"]
        assert [ours.soname] == ([tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"] or [None])
        table = other.get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        symbols: list[Any] = list(table.iter_symbols())
        defined = {s.name for s in symbols if s.entry.st_shndx != "SHN_UNDEF" and s.entry.st_info.bind != "STB_LOCAL"}
        assert set(exported_names(ours)) <= defined
        undefined = {
            s.name for s in symbols if s.entry.st_shndx == "SHN_UNDEF" and s.entry.st_info.bind == "STB_GLOBAL"
        }
        assert {wanted.name for wanted in wanted_symbols(ours)} == undefined & used(other, symbols)


def used(other: ELFFile, symbols: list[Any]) -> set[str]:
    """Names that a relocation refers to, by pyelftools."""
    tables: list[Any] = [
        section for section in other.iter_sections() if section.name.startswith((".rela.dyn", ".rela.plt"))
    ]
    return {symbols[entry["r_info_sym"]].name for table in tables for entry in table.iter_relocations()}


@pytest.mark.parametrize("path", system_libraries(), ids=lambda path: path.name)
def test_every_exported_name_is_found_by_its_hash(path: Path) -> None:
    with mapped(path) as data:
        file = Elf(data, path.name)
        names = list(dict.fromkeys(exported_names(file)))[:300]
        versions: list[str | None] = [*file.version_definitions.values(), None]
        for name in names:
            assert any(exports(file, WantedSymbol(name=name, version=version)) for version in versions), name
            assert not exports(file, WantedSymbol(name=name + "_nobody_has_this"))


def test_versions_of_wishes_and_their_library(tmp_path: Path) -> None:
    versioned(tmp_path / "libv.so", "libv.so", {"OLD": ["first"], "NEW": ["second"]})
    path = shared(tmp_path / "wants.so", references(["first", "second", "third"]), str(tmp_path / "libv.so"))
    with mapped(path) as data:
        wanted = wanted_symbols(Elf(data, path.name))
    assert sorted(wanted, key=str) == [
        WantedSymbol(name="first", version="OLD", library="libv.so"),
        WantedSymbol(name="second", version="NEW", library="libv.so"),
        WantedSymbol(name="third"),
    ]


def test_one_of_two_versions_is_taken_only_by_its_name(tmp_path: Path) -> None:
    """A symbol with an old, hidden version and a default one, as glibc's memcpy has."""
    source = 'int a(void){return 1;} int b(void){return 2;}\n__asm__(".symver a,f@V1\\n.symver b,f@@V2");'
    script = tmp_path / "map"
    script.write_text("V1 {};\nV2 {};\nV3 {};")
    path = shared(tmp_path / "libf.so", source, f"-Wl,--version-script={script}")
    with mapped(path) as data:
        file = Elf(data, path.name)
        answers = {
            version: exports(file, WantedSymbol(name="f", version=version)) for version in ("V1", "V2", "V3", None)
        }
    assert answers == {"V1": True, "V2": True, "V3": False, None: True}


def test_undefined_hidden_and_weak_symbols_are_not_wanted(tmp_path: Path) -> None:
    source = references(["wanted"], weak=["weak"])
    path = shared(tmp_path / "mixed.so", source, "-Wl,-z,pack-relative-relocs")
    with mapped(path) as data:
        assert [wanted.name for wanted in wanted_symbols(Elf(data, path.name))] == ["wanted"]


def refused(data: bytes) -> str:
    with pytest.raises(BadBinary) as caught:
        read_binary(data, "patient.so")
    assert caught.value.message.startswith("patient.so: ")
    return caught.value.message


def test_what_is_no_library_is_a_clear_error(tmp_path: Path) -> None:
    good = shared(tmp_path / "good.so").read_bytes()
    assert "not an ELF file" in refused(b"")
    assert "not an ELF file" in refused(b"version https://git-lfs.example/spec/v1\n" * 4)
    assert "truncated" in refused(good[:40])
    assert "32-bit" in refused(good[:4] + b"\1" + good[5:])
    assert "big-endian" in refused(good[:5] + b"\2" + good[6:])
    assert "no shared object" in refused(good[:16] + b"\1\0" + good[18:])


def test_a_real_32_bit_library(tmp_path: Path) -> None:
    made = subprocess.run(
        ["gcc", "-m32", "-shared", "-nostdlib", "-x", "c", "-", "-o", str(tmp_path / "narrow.so")],
        input=b"int x;",
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("this gcc makes no 32-bit code")
    assert "32-bit" in refused((tmp_path / "narrow.so").read_bytes())


@pytest.mark.parametrize("path", ["/nowhere/x.so", "/dev/null", "/tmp"])
def test_what_is_no_file_is_a_clear_error(path: str) -> None:
    with pytest.raises(BadBinary, match=path):
        read_binary(Path(path))


@cache
def patient() -> bytes:
    """A small library with everything in it: versions, both hash tables, GPU code, wishes."""
    with tempfile.TemporaryDirectory() as name:
        versioned(Path(name) / "libv.so", "libv.so", {"OLD": ["first"], "NEW": ["second"]})
        chain = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 64) + struct.pack("<HHIQ", 2, 0x101, 64, 0).ljust(64, b"\1")
        words = ", ".join(map(str, struct.unpack("<20I", chain)))
        source = references(["first", "second", "_ZN3c105ErrorC1ENS_14SourceLocationESs", "PyCapsule_Type"])
        source += f'int gpu[] __attribute__((section(".nv_fatbin"))) = {{ {words} }}; int exported_by_us;'
        options = [
            str(Path(name) / "libv.so"),
            "-Wl,--hash-style=both",
            "-Wl,-rpath,$ORIGIN",
            "-Wl,-z,max-page-size=4096",
        ]
        return shared(Path(name) / "all.so", source, *options).read_bytes()


def examine(data: bytes) -> None:
    """Everything that is ever asked of a file."""
    binary = read_binary(data, "all.so")
    assert binary.glibc is None or binary.glibc.major >= 0
    file = Elf(data, "all.so")
    for name in ("exported_by_us", "first", "nobody"):
        exports(file, WantedSymbol(name=name, version="OLD"))
        exports(file, WantedSymbol(name=name))
    for _, _ in zip(exported_names(file), range(1000), strict=False):
        pass


def test_the_patient_is_healthy_before_it_is_harmed() -> None:
    examine(patient())
    binary = read_binary(patient(), "all.so")
    assert {"first", "second"} <= {wanted.name for wanted in binary.wanted}


@pytest.mark.parametrize("part", range(64))
def test_every_truncation_is_refused_or_harmless(part: int) -> None:
    data = patient()
    with contextlib.suppress(BadBinary):
        examine(data[: len(data) * part // 64])


places = st.integers(min_value=0, max_value=1 << 20)
values = st.one_of(st.integers(0, 255), st.sampled_from([0, 0xFFFFFFFF, 1 << 31, (1 << 64) - 1, 1 << 40]))


@settings(max_examples=800, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(places, values), min_size=1, max_size=6), st.booleans())
def test_mutants_are_read_or_refused(changes: list[tuple[int, int]], in_tables: bool) -> None:
    """Bytes, words and addresses of a real file replaced; half of them in its headers and dynamic tables."""
    data = bytearray(patient())
    limit = 0x900 if in_tables else len(data)
    for place, value in changes:
        width = 1 if value < 256 else 4 if value < 1 << 32 else 8
        at = place % limit // width * width
        data[at : at + width] = value.to_bytes(width, "little")
    with contextlib.suppress(BadBinary):
        examine(bytes(data))


def test_a_quarter_million_symbols(tmp_path: Path) -> None:
    """As many as torch's largest libraries have, all of them wanted: read in bounded memory."""
    count = 250_000
    source = tmp_path / "many.s"
    source.write_text(
        '.section .data.rel,"aw"\n' + "".join(f".quad _ZN2at6symbolEi{index:06}\n" for index in range(count))
    )
    path = tmp_path / "many.so"
    subprocess.run(["gcc", "-shared", "-nostdlib", str(source), "-o", str(path)], check=True)
    code = (
        "import sys; from pathlib import Path; from flash_doctor.abi.binary import read_binary\n"
        "binary = read_binary(Path(sys.argv[1]))\n"
        # not ru_maxrss, which a child inherits from the process that started it
        "peak = Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]\n"
        "print(len(binary.wanted), peak)"
    )
    found, kilobytes = child(sys.executable, code, str(path)).split()
    assert int(found) == count
    assert int(kilobytes) < 400_000


def test_a_lookup_in_a_large_file_reads_few_of_its_pages(tmp_path: Path) -> None:
    """A sparse gigabyte between the tables: a lookup looks at as little as in a small file."""
    path = shared(tmp_path / "small.so", "int here; char room[1];", "-Wl,-soname,small.so")
    os.truncate(path, 1 << 30)
    with mapped(path) as data:
        counting = CountingBuffer(data)
        file = Elf(counting, path.name)
        assert exports(file, WantedSymbol(name="here"))
        assert not exports(file, WantedSymbol(name="not_here"))
    assert counting.looked_at < 100_000
