"""ld.so.cache: this machine's, against ldconfig's own listing; hand-made ones; and rubbish."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from flash_doctor.abi.search import LoaderSettings, cpu_levels, parse_cache, read_cache

X86, I386 = 0x0303, 0x0003
LDCONFIG = shutil.which("ldconfig") or "/sbin/ldconfig"


def cache(*entries: tuple[int, str, str, str], old: int | None = None) -> bytes:
    """A cache with entries of (flags, name, path, CPU level), as ldconfig writes it."""
    levels = sorted({level for *_, level in entries if level})
    texts = "".join(f"{text}\0" for _, name, path, _ in entries for text in (name, path))
    texts += "".join(f"{level}\0" for level in levels)
    table = 48 + 24 * len(entries)
    rows = b""
    for flags, name, path, level in entries:
        hwcap = (1 << 62) + levels.index(level) if level else 0
        rows += struct.pack("<iIIIQ", flags, table + place(texts, name), table + place(texts, path), 0, hwcap)
    extension = (table + len(texts) + 3) // 4 * 4
    words = b"".join(struct.pack("<I", table + place(texts, level)) for level in levels)
    block = struct.pack("<IIIIII", 0xEAA42174, 1, 1, 0, extension + 24, len(words)) + words
    header = struct.pack("<20sIIB3xI12x", b"glibc-ld.so.cache1.1", len(entries), len(texts), 2, extension)
    new = (header + rows + texts.encode()).ljust(extension, b"\0") + block
    if old is None:
        return new
    return (b"ld.so-1.7.0\0" + struct.pack("<I", old) + bytes(12 * old)).ljust(
        (16 + 12 * old + 7) // 8 * 8, b"\0"
    ) + new


def place(texts: str, text: str) -> int:
    return ("\0" + texts).index(f"\0{text}\0")


ENTRIES = (
    (X86, "libone.so", "/lib/libone.so", ""),
    (I386, "libone.so", "/lib32/libone.so", ""),
    (X86, "libtwo.so", "/lib/libtwo.so", ""),
    (X86, "libtwo.so", "/lib/glibc-hwcaps/x86-64-v3/libtwo.so", "x86-64-v3"),
    (X86, "libtwo.so", "/lib/glibc-hwcaps/x86-64-v2/libtwo.so", "x86-64-v2"),
)


@pytest.mark.parametrize("old", [None, 0, 3])
def test_the_best_entry_for_machine_and_cpu(old: int | None) -> None:
    data = cache(*ENTRIES, old=old)
    assert parse_cache(data, "x86_64") == {"libone.so": Path("/lib/libone.so"), "libtwo.so": Path("/lib/libtwo.so")}
    best = parse_cache(data, "x86_64", ["x86-64-v3", "x86-64-v2"])
    assert best["libtwo.so"] == Path("/lib/glibc-hwcaps/x86-64-v3/libtwo.so")
    assert parse_cache(data, "x86_64", ["x86-64-v2"])["libtwo.so"] == Path("/lib/glibc-hwcaps/x86-64-v2/libtwo.so")
    assert parse_cache(data, "aarch64") == {}


@given(st.integers(0, 400), st.binary(max_size=24))
def test_rubbish_gives_fewer_entries_and_no_error(at: int, noise: bytes) -> None:
    data = cache(*ENTRIES)
    found = parse_cache(data[:at] + noise + data[at + len(noise) :], "x86_64", ["x86-64-v3"])
    assert all(name and path for name, path in found.items())
    assert parse_cache(data[:at], "x86_64") is not None
    assert parse_cache(noise, "x86_64") == {}


def test_no_cache_is_an_empty_one(tmp_path: Path) -> None:
    assert read_cache(tmp_path / "none", "x86_64") == {}
    assert read_cache(tmp_path, "x86_64") == {}


@pytest.mark.skipif(not Path(LDCONFIG).exists(), reason="no ldconfig here")
def test_this_machine_as_ldconfig_lists_it() -> None:
    listing = subprocess.run([LDCONFIG, "-p"], capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^\t(\S+) \(libc6,x86-64[^)]*\) => (\S+)$", listing, re.MULTILINE)
    ours = read_cache(Path("/etc/ld.so.cache"), "x86_64", ["x86-64-v4", "x86-64-v3", "x86-64-v2"])
    assert set(ours) == {name for name, _ in lines}
    assert {(name, str(path)) for name, path in ours.items()} <= set(lines)


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        ("fpu sse2", ()),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3", ("x86-64-v2",)),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave", ()),
        (
            "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
            ("x86-64-v3", "x86-64-v2"),
        ),
    ],
)
def test_cpu_levels(tmp_path: Path, flags: str, levels: tuple[str, ...]) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
    assert cpu_levels(tmp_path / "cpuinfo") == levels
    assert cpu_levels(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("$ORIGIN/../lib", "/app/bin/../lib"),
        ("${ORIGIN}/x", "/app/bin/x"),
        ("$ORIGINAL/x", "$ORIGINAL/x"),
        ("/usr/$LIB/$PLATFORM", "/usr/lib64/x86_64"),
    ],
)
def test_tokens(text: str, path: str) -> None:
    system = LoaderSettings(machine="x86_64", lib="lib64", folders=(), hwcaps=(), cache_file=Path("/none"))
    assert system.expand(text, Path("/app/bin")) == path


def test_folders_of_cpu_levels_come_first(tmp_path: Path) -> None:
    system = LoaderSettings(machine="x86_64", lib="lib64", folders=(), hwcaps=("x86-64-v3",), cache_file=Path("/none"))
    assert list(system.within(tmp_path, "a.so")) == [tmp_path / "a.so"]
    (tmp_path / "glibc-hwcaps").mkdir()
    assert next(iter(system.within(tmp_path, "a.so"))) == tmp_path / "glibc-hwcaps" / "x86-64-v3" / "a.so"
