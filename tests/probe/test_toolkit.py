"""Toolkits, compilers and ninja: real files and real programs in folders laid out as installers do."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from packaging.version import Version

from claimed import decoded
from flash_doctor.model import Absent, Part, Tool, Toolchain, Unknown, known
from flash_doctor.probe.toolkit import read_toolchain
from flash_doctor.system.codec import encode
from flash_doctor.system.process import Command, Completed, Running, SystemRunner

HEADERS = Absent(absent="not asked here")
NVCC = """#!/bin/sh
echo "nvcc: NVIDIA (R) Cuda compiler driver"
echo "Cuda compilation tools, release {0}, V{0}.131"
"""
BROKEN = "#!/bin/sh\necho started > {0}\nexit 1\n"


@dataclass(frozen=True)
class Machine:
    """A root without toolkits, PATH pointing at an empty folder of its own, and a target's site-packages."""

    root: Path
    bin: Path
    site: Path

    def look(self, runner: SystemRunner | None = None) -> Toolchain:
        found = read_toolchain((self.site,), HEADERS, runner or SystemRunner(), self.root)
        assert isinstance(found, Toolchain)
        assert decoded(Toolchain, encode(found)) == found
        return found

    def toolkits(self) -> list[tuple[str, Part[Version]]]:
        return [(toolkit.origin, toolkit.version) for toolkit in self.look().toolkits]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in ("CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX", "CXX", "CC"):
        monkeypatch.delenv(name, raising=False)
    found = Machine(tmp_path / "root", tmp_path / "bin", tmp_path / "venv/lib/python3.12/site-packages")
    for folder in (found.root, found.bin, found.site):
        folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(found.bin))
    return found


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_an_empty_machine(machine: Machine) -> None:
    found = machine.look()
    assert found.toolkits == ()
    assert found.chosen is None
    assert isinstance(found.compiler, Absent)
    assert isinstance(found.ninja, Absent)
    assert found.python_headers is HEADERS


def test_torchs_order(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path / "home/bin/nvcc", NVCC.format("12.1"))
    program(machine.bin / "nvcc", NVCC.format("12.4"))
    program(machine.root / "usr/local/cuda-12.8/bin/nvcc", NVCC.format("12.8"))
    (machine.root / "usr/local/cuda").symlink_to("cuda-12.8")
    program(machine.root / "usr/local/cuda-11.8/bin/nvcc", NVCC.format("11.8"))
    rest = [("/usr/local/cuda", Version("12.8.131")), ("/usr/local/cuda-11.8", Version("11.8.131"))]
    assert machine.toolkits() == [("PATH", Version("12.4.131")), *rest]
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "home"))
    assert machine.toolkits()[0] == ("CUDA_HOME", Version("12.1.131"))
    monkeypatch.setenv("CUDA_HOME", str(machine.root / "usr/local/cuda"))
    assert [origin for origin, _ in machine.toolkits()] == ["CUDA_HOME", "PATH", "/usr/local/cuda-11.8"]


def test_cuda_home_without_nvcc_is_what_a_build_takes_and_fails_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "gone"))
    program(machine.bin / "nvcc", NVCC.format("12.4"))
    chosen = machine.look().chosen
    assert chosen is not None
    assert chosen.origin == "CUDA_HOME"
    assert isinstance(chosen.version, Absent)


def test_a_written_version_spares_the_run(machine: Machine, tmp_path: Path) -> None:
    trace = tmp_path / "started"
    home = machine.root / "usr/local/cuda-12.6"
    program(home / "bin/nvcc", BROKEN.format(trace))
    (home / "version.json").write_text(json.dumps({"cuda_nvcc": {"name": "CUDA NVCC", "version": "12.6.77"}}))
    assert machine.toolkits() == [("/usr/local/cuda-12.6", Version("12.6.77"))]
    assert not trace.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"cuda_nvcc": 1}', '{"cuda_nvcc": {"version": null}}'])
def test_a_broken_version_file_is_passed_over(machine: Machine, text: str) -> None:
    home = machine.root / "usr/local/cuda-12.6"
    program(home / "bin/nvcc", NVCC.format("12.6"))
    (home / "version.json").write_text(text)
    assert machine.toolkits() == [("/usr/local/cuda-12.6", Version("12.6.131"))]


@pytest.mark.parametrize(
    ("folder", "record"),
    [("cu13", "nvidia_cuda_nvcc-13.0.48.dist-info"), ("cuda_nvcc", "nvidia_cuda_nvcc_cu12-13.0.48.dist-info")],
)
def test_pips_nvcc(machine: Machine, folder: str, record: str, tmp_path: Path) -> None:
    program(machine.site / "nvidia" / folder / "bin/nvcc", BROKEN.format(tmp_path / "started"))
    (machine.site / record).mkdir()
    assert machine.toolkits() == [("pip", Version("13.0.48"))]
    assert not (tmp_path / "started").exists()


def test_pips_package_with_ptxas_alone_is_no_toolkit(machine: Machine) -> None:
    program(machine.site / "nvidia/cuda_nvcc/bin/ptxas", "#!/bin/sh\n")
    assert machine.toolkits() == []


def test_condas_nvcc(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prefix = tmp_path / "conda"
    program(prefix / "bin/nvcc", BROKEN.format(tmp_path / "started"))
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta/cuda-nvcc_linux-64-12.4.131-he91c749_0.json").touch()
    monkeypatch.setenv("CONDA_PREFIX", str(prefix))
    assert machine.toolkits() == [("conda", Version("12.4.131"))]


def test_an_nvcc_that_fails_is_unknown(machine: Machine, tmp_path: Path) -> None:
    program(machine.bin / "nvcc", BROKEN.format(tmp_path / "started"))
    assert isinstance(machine.toolkits()[0][1], Unknown)


def test_an_nvcc_that_cannot_be_started_is_unknown(machine: Machine) -> None:
    program(machine.bin / "nvcc", "\x7fELF rubbish")
    assert isinstance(machine.toolkits()[0][1], Unknown)


class Impatient(SystemRunner):
    def start(self, command: Command) -> Running:
        return super().start(replace(command, timeout=0.4))

    def run(self, command: Command) -> Completed:
        return self.start(command).wait()


def test_hanging_tools_are_abandoned_together(machine: Machine) -> None:
    for name in ("nvcc", "g++", "ninja"):
        program(machine.bin / name, "#!/bin/sh\nexec /bin/sleep 60\n")
    started = time.monotonic()
    found = machine.look(Impatient())
    assert time.monotonic() - started < 4
    assert isinstance(found.toolkits[0].version, Unknown)
    assert isinstance(found.compiler, Unknown)
    ninja = known(found.ninja)
    assert ninja is not None
    assert isinstance(ninja.version, Unknown)


@pytest.mark.parametrize(
    ("line", "name", "version"),
    [
        ("g++ (Debian 12.2.0-14) 12.2.0", "gcc", "12.2.0"),
        ("c++ (Ubuntu 13.2.0-23ubuntu4) 13.2.0", "gcc", "13.2.0"),
        ("g++ (GCC) 11.5.0 20240719 (Red Hat 11.5.0-2)", "gcc", "11.5.0"),
        ("x86_64-conda-linux-gnu-c++ (conda-forge gcc 14.1.0-0) 14.1.0", "gcc", "14.1.0"),
        ("g++ (SUSE Linux) 7.5.0", "gcc", "7.5.0"),
        ("Ubuntu clang version 18.1.3 (1ubuntu1)", "clang", "18.1.3"),
        ("clang version 17.0.6", "clang", "17.0.6"),
    ],
)
def test_compilers_by_what_they_say(machine: Machine, line: str, name: str, version: str) -> None:
    program(machine.bin / "g++", f"#!/bin/sh\necho '{line}'\n")
    assert machine.look().compiler == Tool(path=machine.bin / "g++", name=name, version=Version(version))


def test_the_real_compiler(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which("g++", path="/usr/bin:/usr/local/bin")
    if real is None:
        pytest.skip("no g++ here")
    monkeypatch.setenv("CXX", f"{real} -O2")
    said = SystemRunner().run(Command(argv=(real, "-dumpfullversion", "-dumpversion"))).text.strip()
    assert machine.look().compiler == Tool(path=Path(real), name="gcc", version=Version(said))


@pytest.mark.parametrize(("value", "kind"), [("g++-99", Absent), ("'unclosed", Unknown)])
def test_a_cxx_that_is_no_program(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, value: str, kind: type[Absent | Unknown]
) -> None:
    program(machine.bin / "g++", "#!/bin/sh\n")
    monkeypatch.setenv("CXX", value)
    assert isinstance(machine.look().compiler, kind)


def test_the_targets_ninja_tells_by_its_metadata(machine: Machine, tmp_path: Path) -> None:
    path = program(machine.site.parents[2] / "bin/ninja", BROKEN.format(tmp_path / "started"))
    (machine.site / "ninja-1.11.1.4.dist-info").mkdir()
    assert machine.look().ninja == Tool(path=path, name="ninja", version=Version("1.11.1.4"))
    assert not (tmp_path / "started").exists()


def test_ninja_on_path_wins_and_is_asked(machine: Machine) -> None:
    program(machine.site.parents[2] / "bin/ninja", "#!/bin/sh\n")
    path = program(machine.bin / "ninja", "#!/bin/sh\necho 1.12.1\n")
    assert machine.look().ninja == Tool(path=path, name="ninja", version=Version("1.12.1"))


def test_no_site_packages_at_all(machine: Machine) -> None:
    assert isinstance(read_toolchain((), HEADERS, SystemRunner(), machine.root), Toolchain)
    assert isinstance(read_toolchain((Path("/"),), HEADERS, SystemRunner(), Path(os.devnull)), Toolchain)
