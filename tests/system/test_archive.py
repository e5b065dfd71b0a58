"""Archives that strangers packed: directories without end, members that unpack to more, trees that lead out."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest

from flash_doctor.system.archive import MOST_FILES, BadArchive, Limits, extract, open_zip, read_member
from memory import peak_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "x-1-py3-none-any.whl"


def directory_of(count: int, *, stated: int | None = None, name: int = 8, zip64: bool = True) -> bytes:
    """A zip file of one local header and `count` entries; its end states `stated` of them, 0 in the small fields."""
    stated = count if stated is None else stated

    def entry(number: int) -> bytes:
        lengths = (name, 0, 0, 0, 0, 0, 0)
        return struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, *lengths) + b"%0*d" % (name, number)

    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    body = b"".join(map(entry, range(count)))
    large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, stated, stated, len(body), len(local))
    place = struct.pack("<4sLQL", b"PK\6\7", 0, len(local) + len(body), 1)
    if zip64:
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        return local + body + large + place + end
    few = min(stated, 0xFFFE)
    return local + body + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, few, few, len(body), len(local), 0)


READERS = {
    "open_zip": "from flash_doctor.system.archive import open_zip as read",
    "wheel": "from flash_doctor.abi.wheel import open_wheel as read",
    "names": "from flash_doctor.install.staging import check_names as read",
    "room": "from flash_doctor.install.gather import unpacked_size as read",
    "wheelhouse": "from flash_doctor.resolve.sources.wheelhouse import _fault as read",
    "arguments": "from flash_doctor.watch.trainer_files import read_settings as read",
}


DIRECTORIES = [(1_500_000, 8, True), (MOST_FILES + 1, 8, False), (150_000, 60, True)]


@pytest.mark.parametrize(
    ("reader", "count", "name", "zip64"),
    [*((reader, 300_000, 8, True) for reader in READERS), *(("wheel", *directory) for directory in DIRECTORIES)],
)
def test_a_directory_of_too_many_entries_is_refused_before_they_are_made(
    tmp_path: Path, reader: str, count: int, name: int, zip64: bool
) -> None:
    path = tmp_path / NAME
    path.write_bytes(directory_of(count, stated=3 if count == 300_000 else None, name=name, zip64=zip64))
    code = (
        "from pathlib import Path\n"
        f"{READERS[reader]}\n"
        "import zipfile\n"
        "began()\n"
        "try:\n"
        f"    found = read(Path({str(path)!r}))\n"
        "    if hasattr(found, '__enter__'): found.__enter__()\n"
        "    assert isinstance(found, str) and found, 'it was read'\n"
        "except AssertionError: raise\n"
        "except Exception as error:\n"
        "    from flash_doctor.errors import DoctorError\n"
        "    assert isinstance(error, (DoctorError, ValueError)), error\n"
    )
    assert peak_of(code) < 50 << 20


def test_as_many_as_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(directory_of(MOST_FILES))
    with open_zip(path) as archive:
        assert len(archive.namelist()) == MOST_FILES


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def lied(path: Path, true: int, false: int) -> None:
    """The stated size of a member, in its header and in the directory, by another one."""
    data = path.read_bytes()
    assert data.count(struct.pack("<L", true)) == 2
    path.write_bytes(data.replace(struct.pack("<L", true), struct.pack("<L", false)))


def test_a_member_that_unpacks_to_more_than_it_states(tmp_path: Path) -> None:
    size = 300 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    path = zipped(tmp_path / "x.zip", {"a": b"x" * 100_001}, zipfile.ZIP_STORED)
    packed = b"".join([packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]) + packer.flush()
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), 100, 1, 0) + b"a"
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, 0, len(packed), 100, 1, 0, 0, 0, 0, 0, 0)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry) + 1, len(head) + len(packed), 0)
    path.write_bytes(head + packed + entry + b"a" + end)
    code = (
        "from pathlib import Path\n"
        "from flash_doctor.system.archive import BadArchive, open_zip, read_member\n"
        "began()\n"
        "try:\n"
        f"    with open_zip(Path({str(path)!r})) as archive: assert len(read_member(archive, 'a', 1000)) <= 1000\n"
        "except BadArchive: pass\n"
    )
    assert peak_of(code) < 10 << 20


def test_members_that_are_not_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a": b"x" * 5000, "b": b"yes"})
    with open_zip(path) as archive:
        assert read_member(archive, "b", 3) == b"yes"
        for name, why in (("a", "larger than 4999 bytes"), ("c", "no item named")):
            with pytest.raises(BadArchive, match=why):
                read_member(archive, name, 4999)
    odd = zipped(tmp_path / "y.zip", {"a": b"x" * 100}, zipfile.ZIP_LZMA)
    with open_zip(odd) as archive, pytest.raises(BadArchive, match="not used here"):
        read_member(archive, "a", 1000)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.zip")
    os.mkfifo(tmp_path / "x.tar.gz")
    with pytest.raises(BadArchive, match="no regular file"), open_zip(tmp_path / "x.zip"):
        pass
    with pytest.raises(BadArchive, match="no regular file"):
        extract(tmp_path / "x.tar.gz", tmp_path)


Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, content: bytes = b"x", **more: object) -> Entry:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Entry:
    return entry(name, b"", type=kind, linkname=target)


def packed(folder: Path, *entries: Entry, mode: str = "w:gz") -> Path:
    path = folder / "source.tar.gz"
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_a_source_archive(tmp_path: Path, mode: str) -> None:
    path = packed(
        tmp_path,
        entry("x-1", b"", type=tarfile.DIRTYPE, mode=0o000),
        entry("x-1/setup.py", b"print()", mode=0o6777, mtime=1e18),
        entry("./x-1/docs/a.txt", b"a", mode=0o444),
        link("x-1/docs/b.txt", "../setup.py"),
        link("x-1/same.py", "x-1/setup.py", tarfile.LNKTYPE),
        link("x-1/here", "docs"),
        link("x-1/nowhere", "not/there"),
        entry("x-1/" + "n" * 200 + "/" + "m" * 200, b"long"),
        mode=mode,
    )
    out = tmp_path / "out"
    out.mkdir()
    extract(path, out)
    assert (out / "x-1/docs/b.txt").read_bytes() == b"print()" == (out / "x-1/same.py").read_bytes()
    assert (out / "x-1/here/a.txt").read_bytes() == b"a"
    assert (out / "x-1" / ("n" * 200) / ("m" * 200)).read_bytes() == b"long"
    modes = [(out / name).lstat().st_mode & 0o7777 for name in ("x-1/setup.py", "x-1/docs/a.txt")]
    assert modes == [0o755, 0o644]
    assert (out / "x-1").lstat().st_mode & 0o500 == 0o500


OUTSIDE: dict[str, tuple[Entry, ...]] = {
    "an absolute name": (entry("/tmp/evil"),),
    "a name that climbs": (entry("x/../../evil"),),
    "a link out": (link("x/a", "../../evil"),),
    "an absolute link": (link("x/a", "/etc/passwd"),),
    "a hard link out": (link("x/a", "../../evil", tarfile.LNKTYPE),),
    "a hard link to what is not there": (link("x/a", "x/b", tarfile.LNKTYPE),),
    "a file behind a link": (link("x/a", "."), entry("x/a/evil")),
    "a file before the link that it lies behind": (entry("x/a/evil"), link("x/a", ".")),
    "a file through a link to the folder above": (link("x/a", "../.."), entry("x/a/evil")),
    "a link through a link": (link("x/y/a", "../.."), link("x/y/b", "a/../..")),
    "a link through a link, a level further": (link("p/q/d", "../.."), link("p/q/e", "d/.."), entry("p/q/f")),
    "a link in the place of a file": (entry("x/a"), link("x/a", "b")),
    "a file in the place of a link": (link("x/a", "../evil"), entry("x/a")),
    "a device": (entry("x/a", b"", type=tarfile.CHRTYPE),),
    "a pipe": (entry("x/a", b"", type=tarfile.FIFOTYPE),),
    "a name twice": (entry("x/a"), entry("x/./a")),
    "a link without a target": (link("x/a", ""),),
    "a link from a folder that is a link": (link("x/a", "y"), link("x/a/b", "c")),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_would_lead_out_is_refused(tmp_path: Path, name: str) -> None:
    out = tmp_path / "far" / "out"
    out.mkdir(parents=True)
    path = packed(tmp_path, *OUTSIDE[name])
    with pytest.raises(BadArchive):
        extract(path, out)
    assert not (tmp_path / "evil").exists()
    assert list((tmp_path / "far").iterdir()) == [out]
    assert all(path.resolve().is_relative_to(out) for path in out.rglob("*"))


def bombs() -> dict[str, Callable[[Path], Path]]:
    def zeros(folder: Path) -> Path:
        return packed(folder, entry("x/zeros", bytes(64 << 20)))

    def header(kind: bytes) -> Callable[[Path], Path]:
        """One header that claims as many bytes as follow it."""

        def make(folder: Path) -> Path:
            info = tarfile.TarInfo("x")
            info.type, info.size = kind, 64 << 20
            path = folder / "source.tar.gz"
            with gzip.open(path, "wb", 1) as file:
                file.write(info.tobuf(tarfile.USTAR_FORMAT))
                file.write(bytes(64 << 20))
            return path

        return make

    def holes(folder: Path) -> Path:
        info = tarfile.TarInfo("x/holes")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}
        info.size = 512
        return packed(folder, (info, b"1\n0\n1\n".ljust(512, b"\0")))

    def copies(folder: Path) -> Path:
        many = [link(f"x/{number}", "x/a", tarfile.LNKTYPE) for number in range(64)]
        return packed(folder, entry("x/a", bytes(1 << 20)), *many)

    return {
        "zeros": zeros,
        "a long name": header(tarfile.GNUTYPE_LONGNAME),
        "a long header": header(tarfile.XHDTYPE),
        "a file with holes": holes,
        "copies": copies,
        "many entries": lambda folder: packed(folder, *(entry(f"x/{number}", b"") for number in range(3000))),
        "deep": lambda folder: packed(folder, entry("x/" * 100 + "a")),
        "very deep": lambda folder: packed(folder, entry("x/" * 3000 + "a")),
        "a long way": lambda folder: packed(folder, entry("/".join(["n" * 250] * 60))),
    }


@pytest.mark.parametrize("name", bombs())
def test_what_would_fill_the_disk_or_the_memory_is_refused(tmp_path: Path, name: str) -> None:
    path = bombs()[name](tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    code = (
        "from pathlib import Path\n"
        "from flash_doctor.system.archive import BadArchive, Limits, extract\n"
        "began()\n"
        f"try: extract(Path({str(path)!r}), Path({str(out)!r}), Limits(entries=2000, size=8 << 20, depth=64))\n"
        "except BadArchive: pass\n"
        "else: raise SystemExit('it was unpacked')\n"
    )
    assert peak_of(code) < 10 << 20
    assert sum(path.stat().st_blocks * 512 for path in out.rglob("*") if path.is_file()) <= 9 << 20


def test_what_is_cut_off_or_rubbish(tmp_path: Path) -> None:
    whole = packed(tmp_path, entry("x/a", os.urandom(100_000))).read_bytes()
    for number, data in enumerate(
        (whole[:50_000], whole[:5], b"", b"rubbish" * 1000, gzip.compress(b"rubbish" * 1000))
    ):
        path = tmp_path / f"{number}.tar.gz"
        path.write_bytes(data)
        (tmp_path / str(number)).mkdir()
        with pytest.raises(BadArchive):
            extract(path, tmp_path / str(number), Limits())
