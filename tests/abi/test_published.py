"""Wheels that were really published, from the package index."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from flash_doctor.abi.atlas import Atlas
from flash_doctor.abi.binary import NumpyApi, read_binary
from flash_doctor.abi.fatbin import GpuCode
from flash_doctor.abi.wheel import open_wheel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.index


def fetched(folder: Path, requirement: str) -> Path:
    """The wheel for CPython 3.11 on x86_64, whatever runs the tests."""
    platforms = [f"--platform=manylinux{tag}_x86_64" for tag in ("1", "2014", "_2_28")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version=3.11", *platforms, "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.parametrize(
    ("requirement", "member", "sass", "ptx", "built_for", "cxx11abi"),
    [
        (
            "vllm-flash-attn==2.6.2",
            "vllm_flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so",
            ["8.0", "9.0"],
            [],
            "2.4.0",
            False,
        ),
        ("xformers==0.0.29.post3", "xformers/_C_flashattention3.so", ["9.0a"], [], "2.6.0", False),
        (
            "torchvision==0.21.0",
            "torchvision/_C.so",
            ["5.0", "6.0", "7.0", "7.5", "8.0", "8.6", "9.0"],
            ["5.0"],
            "2.6.0",
            False,
        ),
    ],
)
def test_what_it_was_built_for(
    tmp_path: Path, requirement: str, member: str, sass: list[str], ptx: list[str], built_for: str, cxx11abi: bool
) -> None:
    with open_wheel(fetched(tmp_path, requirement)) as wheel:
        assert member in wheel.binaries
        binary = read_binary(wheel.buffer(member), member)
    assert isinstance(binary.gpu_code, GpuCode)
    assert [str(arch) for arch in binary.gpu_code.sass] == sass
    assert [str(arch) for arch in binary.gpu_code.ptx] == ptx
    assert binary.cxx11abi is cxx11abi
    releases = Atlas.open().releases_exporting_all(map(str, binary.wanted))
    assert releases is not None
    assert Version(built_for) in releases


@pytest.mark.parametrize(
    ("requirement", "generation"), [("bottleneck==1.3.8", NumpyApi.ONE), ("bottleneck==1.4.2", NumpyApi.TWO)]
)
def test_which_numpy_it_was_built_for(tmp_path: Path, requirement: str, generation: NumpyApi) -> None:
    with open_wheel(fetched(tmp_path, requirement)) as wheel:
        assert wheel.binaries
        assert {wheel.read_binary(member).numpy for member in wheel.binaries} == {generation}
