"""Wheels read where they lie: the same answers as from the unpacked file, in little memory, and no surprises."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st
from packaging.version import Version

from compiled import child, references, shared
from flash_doctor.abi.binary import read_binary
from flash_doctor.abi.wheel import Inflated, LocalSource, OpenedWheel, open_wheel
from flash_doctor.errors import BadBinary, BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "thing-1.2+cu12torch2.8-cp312-cp312-manylinux_2_28_x86_64.whl"
INFO = "thing-1.2+cu12torch2.8.dist-info"
METADATA = "Metadata-Version: 2.1\nName: thing\nVersion: 1.2\nRequires-Dist: torch==2.8.*\n\n"
TAGS = "Wheel-Version: 1.0\nTag: cp312-cp312-linux_x86_64\n"


class FarSource:
    """A file behind an address: counts what it hands out."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.size, self.received = len(self.data), 0

    def read(self, start: int, length: int) -> bytes:
        return b"".join(self.stream(start, length))

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        for at in range(start, min(start + length, self.size), 1 << 16):
            chunk = self.data[at : min(at + (1 << 16), start + length)]
            self.received += len(chunk)
            yield chunk


def wheel(folder: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, name: str = NAME) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", method) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{INFO}/METADATA", METADATA)
        archive.writestr(f"{INFO}/WHEEL", TAGS)
        archive.writestr(f"{INFO}/RECORD", f"thing/_C.so,sha256=abc,12\n{INFO}/RECORD,,\n")
    return path


def large_binary(folder: Path, megabytes: int = 6) -> bytes:
    """An extension with noise before its tables, so that compression cannot make it small."""
    noise = folder / "noise"
    noise.write_bytes(random.Random(1).randbytes(megabytes << 20))
    source = references(["_ZN3c105ErrorC1ENS_14SourceLocationESs", "PyLong_FromLong"])
    source += f'__asm__(".section .noise,\\"a\\"\\n.incbin \\"{noise}\\"\\n.text");'
    return shared(folder / "big.so", source).read_bytes()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_same_answer_as_from_the_file(tmp_path: Path, method: int) -> None:
    data = large_binary(tmp_path)
    members = {
        "thing/_C.so": data,
        "thing/__init__.py": b"",
        "thing.libs/libx.so.1.2": data,
        "thing/notes.so.txt": b"no",
    }
    with open_wheel(wheel(tmp_path, members, method)) as opened:
        assert opened.binaries == ("thing/_C.so", "thing.libs/libx.so.1.2")
        assert opened.read_binary("thing/_C.so") == read_binary(data, "thing/_C.so")


def test_what_the_wheel_says_of_itself(tmp_path: Path) -> None:
    with open_wheel(wheel(tmp_path, {})) as opened:
        assert (opened.project, opened.version) == ("thing", Version("1.2+cu12torch2.8"))
        assert {str(tag) for tag in opened.tags} == {"cp312-cp312-manylinux_2_28_x86_64"}
        assert {str(tag) for tag in opened.metadata_tags} == {"cp312-cp312-linux_x86_64"}
        assert opened.metadata.get_all("Requires-Dist") == ["torch==2.8.*"]
        assert [(row.path, row.hash, row.size) for row in opened.record] == [
            ("thing/_C.so", "sha256=abc", 12),
            (f"{INFO}/RECORD", "", None),
        ]


def test_a_far_wheel_tells_its_papers_for_little(tmp_path: Path) -> None:
    source = FarSource(wheel(tmp_path, {"thing/_C.so": large_binary(tmp_path)}))
    opened = OpenedWheel(source, NAME)
    assert opened.metadata["Name"] == "thing"
    assert opened.record
    assert opened.metadata_tags
    assert opened.binaries == ("thing/_C.so",)
    assert source.received < 100_000
    before = source.received
    assert opened.read_binary("thing/_C.so").cxx11abi is False
    # the member is streamed to its tables, which lie at its end, and once more where they point back
    assert source.received - before < 2.2 * source.size


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five megabytes, half of them noise, deflated."""
    noise = random.Random(2)
    data = b"".join(noise.randbytes(1 << 19) + bytes(1 << 19) for _ in range(5)) + b"the end"
    folder = tmp_path_factory.mktemp("pages")
    (folder / "data").write_bytes(data)
    wheel(folder, {"data.so": data})
    return folder


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, (5 << 20) + 9), st.integers(0, 1 << 20)), max_size=12))
def test_any_order_of_reads(pages: Path, reads: list[tuple[int, int]]) -> None:
    data = (pages / "data").read_bytes()
    with open_wheel(pages / NAME) as opened:
        buffer = opened.buffer("data.so")
        assert len(buffer) == len(data)
        for start, length in reads:
            assert buffer[start : start + length] == data[start : start + length]
        assert buffer.find(b"the end", 3, len(data)) == len(data) - 7
        assert buffer.find(b"not in it", 0, len(data)) == -1


def test_a_gigabyte_member_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / NAME
    head = shared(tmp_path / "small.so", references(["lost"])).read_bytes()
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("thing/_C.so", "w", force_zip64=True) as member,
    ):
        for piece in (head, *[bytes(1 << 22)] * 256):
            member.write(piece)
    code = (
        "import sys; from pathlib import Path; from flash_doctor.abi.wheel import open_wheel\n"
        "with open_wheel(Path(sys.argv[1])) as wheel:\n"
        "    binary, buffer = wheel.read_binary('thing/_C.so'), wheel.buffer('thing/_C.so')\n"
        "    print([str(w) for w in binary.wanted], buffer[len(buffer) - 4:], buffer[1:4])\n"
        # not ru_maxrss, which a child inherits from the process that started it
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    answer, kilobytes = child(sys.executable, code, str(path)).splitlines()
    assert answer == f"['lost'] {bytes(4)!r} {b'ELF'!r}"
    assert int(kilobytes) < 120_000


def damaged(path: Path, start: int, data: bytes) -> Path:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)
    return path


def test_damage_is_told(tmp_path: Path) -> None:
    path = wheel(tmp_path, {"thing/_C.so": large_binary(tmp_path, 2)})
    with open_wheel(damaged(path, 1 << 20, b"\xff" * 4096)) as opened, pytest.raises(BadBinary, match="damaged"):
        opened.read_binary("thing/_C.so")
    with open_wheel(damaged(path, 0, b"rubbish!")) as opened, pytest.raises(BadInput, match="damaged"):
        opened.read_binary("thing/_C.so")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(BadInput, match="no wheel"), open_wheel(path):
        pass


def test_a_size_that_cannot_be_true(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\3\0")
    with LocalSource(tmp_path / "x") as source:
        with pytest.raises(BadBinary, match="truncated or damaged"):
            Inflated(source, 0, 2, 1 << 40, "bomb.so")
        with pytest.raises(BadBinary, match="truncated or damaged"):
            Inflated(source, 0, 2, 4096, "short.so")[0:16]


@pytest.mark.parametrize("name", ["thing.zip", "thing-1.2.whl", "thing-x-py3-none-any.whl"])
def test_a_name_that_is_no_wheels(tmp_path: Path, name: str) -> None:
    path = wheel(tmp_path, {}, name=name)
    with pytest.raises(BadInput, match="no name of a wheel"), open_wheel(path):
        pass


def test_an_encrypted_or_oddly_compressed_member(tmp_path: Path) -> None:
    path = wheel(tmp_path, {"thing/_C.so": b"x" * 100}, zipfile.ZIP_BZIP2)
    with open_wheel(path) as opened, pytest.raises(BadBinary, match="wheels do not use"):
        opened.read_binary("thing/_C.so")


def test_no_dist_info_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w"):
        pass
    with open_wheel(path) as opened, pytest.raises(BadInput, match="no wheel"):
        _ = opened.metadata
    with pytest.raises(BadInput, match="could not be read"), open_wheel(tmp_path / "none-1-py3-none-any.whl"):
        pass


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutants_of_a_wheel(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]) -> None:
    folder = tmp_path_factory.getbasetemp() / f"mutants-{os.getpid()}"
    if not folder.exists():
        folder.mkdir()
        wheel(folder, {"thing/_C.so": shared(folder / "s.so", references(["lost"])).read_bytes()})
    data = bytearray((folder / NAME).read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    (folder / "mutant").write_bytes(data)
    with contextlib.suppress(BadInput):
        opened = OpenedWheel(FarSource(folder / "mutant"), NAME)
        read = [opened.read_binary(member) for member in opened.binaries]
        assert all(binary.machine for binary in read)
        assert (opened.metadata, opened.record, opened.metadata_tags) is not None


def test_zip64_and_a_comment(tmp_path: Path) -> None:
    data = shared(tmp_path / "s.so", references(["lost"])).read_bytes()
    path = wheel(tmp_path, {})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("thing/_C.so", "w", force_zip64=True) as member:
            member.write(data)
        archive.comment = b"a comment at the end " * 50
    with open_wheel(path) as opened:
        assert opened.read_binary("thing/_C.so") == read_binary(data, "thing/_C.so")
