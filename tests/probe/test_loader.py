"""LD_LIBRARY_PATH and the loader's cache, on real folders and a cache written by the real ldconfig."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from flash_doctor.model import Absent, LoaderPath
from flash_doctor.probe.loader import cached, library_path, locate, read_loader


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_nothing_set_is_absent() -> None:
    assert isinstance(read_loader({"PATH": "/bin"}), Absent)
    assert isinstance(read_loader({"LD_LIBRARY_PATH": "", "LD_PRELOAD": ""}), Absent)


def test_the_cuda_family_is_named_by_soname(tmp_path: Path) -> None:
    cuda = touch(
        tmp_path / "cuda",
        "libcudart.so",
        "libcudart.so.12",
        "libcudart.so.12.4.127",
        "libcudnn_ops.so.9.1.0",
        "libnvJitLink.so.12",
        "libnccl.so.2.21.5",
        "libstdc++.so.6",
        "libcublasLt.so.12",
        "libz.so.1",
        "libcudart_static.a",
        "README",
    )
    found = read_loader({"LD_LIBRARY_PATH": f"{cuda}:{tmp_path / 'missing'}", "LD_PRELOAD": "/a.so /b.so:/c.so"})
    assert isinstance(found, LoaderPath)
    assert found.directories == (cuda, tmp_path / "missing")
    assert found.preload == ("/a.so", "/b.so", "/c.so")
    assert [library.soname for library in found.libraries] == [
        "libcublasLt.so.12",
        "libcudart.so.12",
        "libcudnn_ops.so.9",
        "libnccl.so.2",
        "libnvJitLink.so.12",
        "libstdc++.so.6",
    ]
    assert found.libraries[1].path == cuda / "libcudart.so.12"


def test_folders_keep_their_order_and_an_empty_one_is_here() -> None:
    environ = {"LD_LIBRARY_PATH": "/b:/a::/b;/c"}
    assert library_path(environ) == (Path("/b"), Path("/a"), Path(), Path("/c"))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A root whose ld.so.cache knows a compat folder before the driver's."""
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin:/usr/bin")
    if ldconfig is None:
        pytest.skip("this system has no ldconfig (musl)")
    root = tmp_path / "root"
    library = tmp_path / "libcuda.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, "-x", "c", "/dev/null"], check=True
    )
    for folder in ("usr/local/cuda/compat", "usr/lib/driver"):
        (root / folder).mkdir(parents=True)
        shutil.copy(library, root / folder / "libcuda.so.1")
    (root / "etc").mkdir()
    (root / "etc/ld.so.conf").write_text("/usr/local/cuda/compat\n/usr/lib/driver\n")
    subprocess.run([ldconfig, "-r", str(root)], check=True)
    return root


def test_the_cache_that_ldconfig_writes(recorded: Path) -> None:
    expected = [Path("/usr/local/cuda/compat/libcuda.so.1"), Path("/usr/lib/driver/libcuda.so.1")]
    assert cached("libcuda.so.1", recorded) == expected
    assert cached("libcuda.so", recorded) == []
    assert locate("libcuda.so.1", {}, recorded) == recorded / "usr/local/cuda/compat/libcuda.so.1"


def test_this_machines_cache_agrees_with_ldconfig() -> None:
    printed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    listed = [line.split(" => ")[1] for line in printed.splitlines() if line.split()[:1] == ["libc.so.6"]]
    assert [str(path) for path in cached("libc.so.6")] == listed


@pytest.mark.parametrize(
    "rubbish", [b"", b"libcuda.so.1", b"glibc-ld.so.cache1.1\xff\xff\xff\xfflibcuda.so.1" + b"\xff" * 99]
)
def test_a_broken_cache_is_no_cache(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.cache").write_bytes(rubbish)
    assert cached("libcuda.so.1", tmp_path) == []


def test_ld_library_path_wins_over_default_folders(tmp_path: Path) -> None:
    first = touch(tmp_path / "first", "libnvidia-ml.so.1")
    touch(tmp_path / "usr/lib64", "libnvidia-ml.so.1")
    assert locate("libnvidia-ml.so.1", {"LD_LIBRARY_PATH": str(first)}, tmp_path) == first / "libnvidia-ml.so.1"
    assert locate("libnvidia-ml.so.1", {}, tmp_path) == tmp_path / "usr/lib64/libnvidia-ml.so.1"
    assert locate("libother.so.1", {}, tmp_path) is None
