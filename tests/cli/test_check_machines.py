"""The command itself on machines whose driver answers: a real libnvidia-ml.so.1, compiled here, and a real venv."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sites import install, site_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(
    Path("/proc/driver/nvidia").exists(), reason="the real driver's kernel module would contradict the compiled library"
)
SOURCE = Path(__file__).parents[1] / "probe" / "nvml" / "machine.c"
LIBRARIES = ("libc10.so", "libtorch.so", "libtorch_cpu.so", "libtorch_cuda.so")


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of the library as that machine's driver package lays it out: its version is in the file's name."""
    built = tmp_path_factory.mktemp("nvml") / "library"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", built, SOURCE], check=True)
    versions = dict(re.findall(r'^ +{"([\w-]+)", "[^"]+", "([\d.]+)"', SOURCE.read_text(), re.MULTILINE))

    def folder_of(machine: str) -> Path:
        folder = built.parent / machine
        folder.mkdir(exist_ok=True)
        file = folder / f"libnvidia-ml.so.{versions[machine]}"
        if not file.exists():
            shutil.copy(built, file)
            (folder / "libnvidia-ml.so.1").symlink_to(file.name)
        return folder

    return folder_of


@pytest.fixture
def codes(venv: Path, nvml: Callable[[str], Path], tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Runs `check` on the venv beside a machine of machine.c; the findings' severities by code."""

    def run(machine: str, *options: str, **environ: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CUDA_", "VIRTUAL_"))}
        done = subprocess.run(
            [sys.executable, "-m", "flash_doctor", "check", "--python", str(venv), "--json", *options],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**kept, "LD_LIBRARY_PATH": str(nvml(machine)), "FAKE_NVML_MACHINE": machine, **environ},
            timeout=60,
        )
        assert done.stderr == ""
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["exit_code"] == done.returncode
        assert all(finding["evidence"] for finding in document["findings"])
        return {finding["code"]: finding["severity"] for finding in document["findings"]}

    return run


def with_torch(venv: Path, version: str = "2.8.0+cu128", cuda: str | None = "12.8") -> None:
    text = f"__version__ = {version!r}\ncuda: str = {cuda!r}\nhip = None\n"
    libraries = LIBRARIES if cuda else LIBRARIES[:3]
    files: dict[str, str | bytes] = {f"torch/lib/{name}": b"" for name in libraries}
    install(site_of(venv), "torch", version, files={"torch/__init__.py": "", "torch/version.py": text, **files})


def with_flash(venv: Path, version: str = "2.8.3", **more: Any) -> None:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    name = f"flash_attn_2_cuda.cpython-{tag[2:]}-x86_64-linux-gnu.so"
    files: dict[str, str | bytes] = {"flash_attn/__init__.py": f'__version__ = "{version}"\n', name: b"\x7fELF"}
    info = {"WHEEL": f"Wheel-Version: 1.0\nTag: {tag}-{tag}-linux_x86_64\n"}
    install(site_of(venv), "flash-attn", version, files=files, **{"info": info, **more})


def test_a_training_machine_without_torch(codes: Callable[..., dict[str, str]]) -> None:
    found = codes("h200")
    assert found["T501"] == "error"
    assert not [code for code in found if code.startswith(("D", "G", "F"))]


def test_flash_attn_is_missed_where_it_could_run(codes: Callable[..., dict[str, str]], venv: Path) -> None:
    with_torch(venv)
    found = codes("h200")
    assert found["F601"] == "warning"
    assert not [code for code in found if code.startswith(("D", "G", "T"))]


def test_a_cpu_build_beside_a_gpu(codes: Callable[..., dict[str, str]], venv: Path) -> None:
    with_torch(venv, "2.8.0+cpu", None)
    assert codes("h200")["T502"] == "error"


@pytest.mark.parametrize(
    ("machine", "environ", "expected"),
    [
        ("t4", {}, {"G303": "error", "D204": "info"}),
        ("h200", {"CUDA_VISIBLE_DEVICES": ""}, {"G302": "error"}),
        ("hgx", {}, {"D254": "error", "D204": "info"}),
        ("hgx-ready", {}, {"D204": "info"}),
        ("gb10", {}, {}),
        ("h200", {"FAKE_NVML_INIT": "18"}, {"D202": "error"}),
        ("h200", {"FAKE_NVML_CRASH": "nvmlInitWithFlags"}, {}),
    ],
)
def test_what_the_driver_tells(
    codes: Callable[..., dict[str, str]], venv: Path, machine: str, environ: dict[str, str], expected: dict[str, str]
) -> None:
    with_torch(venv)
    with_flash(venv)
    found = codes(machine, **environ)
    assert {code: severity for code, severity in found.items() if code[0] in "DG"} == expected


def test_machine_alone(codes: Callable[..., dict[str, str]], venv: Path) -> None:
    found = codes("hgx", "--host-only")
    assert found["D254"] == "error"
    assert not [code for code in found if code[0] in "TFCPLX"]


def test_a_flash_attn_of_another_torch(codes: Callable[..., dict[str, str]], venv: Path) -> None:
    with_torch(venv)
    with_flash(venv, "2.8.3+cu128torch2.9")
    found = codes("h200")
    assert "F611" in found
    assert not [code for code in found if code[0] in "DGT"]
