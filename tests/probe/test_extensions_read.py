"""Compiled files of real environments, found by what is in them; with the real torch, the loader's own verdict."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from broken_torch import copy_of, metadata_of, replace
from compiled import extension, gpu_code, needs, references, shared, versioned
from flash_doctor.model import Absent, Environment, Report, Target, Unknown, known
from flash_doctor.model.binaries import CudaArchs, Extension
from flash_doctor.probe import RECORDED, probe
from flash_doctor.probe.extensions import FILES_LIMIT, CompiledFiles, read_extensions
from flash_doctor.render.document import load_report
from flash_doctor.system.process import SystemRunner
from sites import install, site_of

if TYPE_CHECKING:
    from collections.abc import Mapping

HAS = "_ZN3c106detail14torchCheckFailEPKcS2_jS2_"
OLD_STRING = "_ZN3c105ErrorC2ENS_14SourceLocationESs"
TAG = f"cpython-{sys.version_info.major}{sys.version_info.minor}-x86_64-linux-gnu"


def environment(venv: Path, tmp_path: Path) -> Environment:
    target = Target(python=venv / "bin" / "python", why="test")
    return probe(target, SystemRunner(), cache=tmp_path / "cache", recorded=RECORDED)


def extensions(venv: Path, tmp_path: Path) -> dict[str, Extension]:
    found = known(environment(venv, tmp_path).extensions) or ()
    return {extension.path.name: extension for extension in found}


def add(venv: Path, name: str, files: Mapping[str, Path], header: str = "") -> None:
    install(site_of(venv), name, "1.0", header=header, files={path: made.read_bytes() for path, made in files.items()})


def test_files_are_found_by_what_is_in_them(venv: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    plain = extension(built, "plain")
    torch = extension(built, "with_torch", references([HAS]), *needs(built, "libc10.so"))
    quiet = extension(built, "by_name_alone", references([HAS]))
    gpu = shared(built / "gpu.so", gpu_code(80, 90))
    add(venv, "numbers", {"numbers/_core.so": plain, "numbers/libother.so.3": torch})
    add(venv, "layers", {"layers/with_torch.so": torch, "layers/deep/by_name_alone.so": quiet}, "Requires-Dist: torch")
    add(venv, "bits", {"bits/libbits_cuda.so": gpu})
    found = extensions(venv, tmp_path)
    assert {name: each.owner for name, each in found.items()} == {
        "with_torch.so": "layers",
        "by_name_alone.so": "layers",
        "libbits_cuda.so": "bits",
    }
    assert found["libbits_cuda.so"].cuda_archs == CudaArchs(sass=("8.0", "9.0"), ptx=())
    assert isinstance(found["libbits_cuda.so"].file, Absent)
    file = known(found["with_torch.so"].file)
    assert file is not None
    assert (file.loads, file.links_torch, isinstance(found["with_torch.so"].cuda_archs, Absent)) == (None, True, True)
    assert Version("2.13.0") in (file.torch_releases or ())


def test_a_broken_file_is_told_where_it_matters_and_hides_no_other(venv: Path, tmp_path: Path) -> None:
    whole = extension(tmp_path / "built", "whole", references([HAS]))
    install(
        site_of(venv),
        "layers",
        "1.0",
        header="Requires-Dist: torch (>=2)",
        files={"layers/a.so": b"\x7fELF", "layers/whole.so": whole.read_bytes(), "layers/z.so": b"not a library"},
    )
    foreign = b"\x7fELF\x01\x01" + bytes(200)
    install(site_of(venv), "debugger", "1.0", header="Requires-Dist: torchless", files={"debugger/x86.so": foreign})
    found = extensions(venv, tmp_path)
    assert sorted(found) == ["a.so", "whole.so", "z.so"]
    assert isinstance(found["a.so"].file, Unknown)
    assert "not an ELF file" in found["z.so"].file.unknown if isinstance(found["z.so"].file, Unknown) else False
    assert known(found["whole.so"].file) is not None


def test_nothing_is_looked_through_without_end(venv: Path, tmp_path: Path) -> None:
    python = known(environment(venv, tmp_path).python)
    assert python is not None
    owners = {Path(f"/nowhere/{number}.so"): "many" for number in range(FILES_LIMIT + 1)}
    places = CompiledFiles(owners=owners, others=(), dependants={"many"})
    many = read_extensions(python, Absent(absent="no torch"), places, {})
    assert isinstance(many, Unknown)
    assert str(FILES_LIMIT + 1) in many.unknown
    few = CompiledFiles(owners=dict(list(owners.items())[:9]), others=(), dependants={"many"})
    assert isinstance(read_extensions(python, Absent(absent="no torch"), few, {}), Absent)


def test_an_environment_without_any(venv: Path, tmp_path: Path) -> None:
    assert isinstance(environment(venv, tmp_path).extensions, Absent)


def checked(venv: Path) -> Report:
    """`flash-doctor check --json`, as a person runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "flash_doctor", "check", "--json", "--python", str(venv)],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("LD_")},
        timeout=60,
    )
    assert done.stderr == ""
    return load_report(done.stdout)


@pytest.mark.torch
def test_check_names_the_extensions_that_torch_would_not_load(torch_venv: Path, tmp_path: Path) -> None:
    venv, built = copy_of(torch_venv, tmp_path / "venv"), tmp_path / "built"
    built.mkdir()
    c10 = needs(built, "libc10.so")
    future = versioned(built / "libc.so.6", "libc.so.6", {"GLIBC_2.99": ["from_the_future"]}, "-nostdlib")
    made = {
        "healthy": extension(built, "healthy", references([HAS]) + gpu_code(90), *c10),
        "older": extension(built, "older", references([HAS, OLD_STRING]), *c10),
        "runtime": extension(built, "runtime", references([HAS]), *needs(built, "libcudart.so.12", "libc10.so")),
        "newest": extension(built, "newest", references([HAS, "from_the_future"]), *c10, str(future), "-nostdlib"),
        "leader": extension(
            built, "leader", references([HAS, "brought_by_a_sibling"]), *needs(built, "libsibling.so", "libc10.so")
        ),
    }
    for name, path in made.items():
        add(venv, name, {f"{name}/_C.{TAG}.so": path}, "Requires-Dist: torch")
    add(venv, "leader", {"leader/libsibling.so": extension(built, "sibling", references([HAS]), *c10),
                         f"leader/_C.{TAG}.so": made["leader"]}, "Requires-Dist: torch")  # fmt: skip
    cut_off = made["healthy"].read_bytes()[:4096]
    install(site_of(venv), "cut", "1.0", header="Requires-Dist: torch", files={f"cut/_C.{TAG}.so": cut_off})
    report = checked(venv)
    assert {finding.subject: finding.code for finding in report.findings if finding.code.startswith("X")} == {
        "older": "X101",
        "runtime": "X103",
        "newest": "X104",
        "cut": "X107",
    }
    told = {finding.subject: "\n".join((finding.summary, *finding.evidence)) for finding in report.findings}
    assert "c10::Error::Error(c10::SourceLocation, std::string)" in told["older"]
    assert "built for torch 2.6 or older" in told["older"]
    assert "older form (C++ ABI FALSE)" in told["older"]
    assert "nvidia-cuda-runtime-cu12" in told["runtime"]
    assert "GLIBC_2.99 of libc.so.6" in told["newest"]
    files = {each.owner: each for each in known(report.environment.extensions) or ()}
    assert files["healthy"].cuda_archs == CudaArchs(sass=("9.0",), ptx=())
    healthy = known(files["healthy"].file)
    assert healthy is not None
    assert healthy.loads


@pytest.mark.torch
def test_a_torch_of_a_vendor_is_outside_the_atlas_and_answered_exactly(torch_venv: Path, tmp_path: Path) -> None:
    venv, built = copy_of(torch_venv, tmp_path / "venv"), tmp_path / "built"
    built.mkdir()
    c10 = needs(built, "libc10.so")
    for name, symbol in (("fits", HAS), ("misses", OLD_STRING)):
        add(venv, name, {f"{name}/_C.so": extension(built, name, references([symbol]), *c10)}, "Requires-Dist: torch")
    version = "__version__ = '2.7.0a0+79aa17489c.nv25.04'\ncuda = None\nhip = None\n"
    replace(site_of(venv) / "torch" / "version.py", version)
    metadata = metadata_of(site_of(venv)) / "METADATA"
    replace(metadata, metadata.read_text(encoding="utf-8").replace("Version: 2.13.0", "Version: 2.7.0a0", 1))
    report = checked(venv)
    (finding,) = report.of("X101")
    assert finding.subject == "misses"
    assert any("outside the atlas" in line for line in finding.evidence)
    assert not [unchecked for unchecked in report.unchecked if unchecked.code.startswith("X")]


def test_what_a_damaged_gpu_section_costs(venv: Path, tmp_path: Path) -> None:
    """The file still counts, its GPU code is unknown, and nothing is said of it."""
    chain = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 1 << 40)
    values = ",".join(map(str, chain))
    source = f'__asm__(".section .nv_fatbin,\\"a\\"\\n.balign 8\\n.byte {values}\\n.text");'
    add(venv, "bits", {"bits/libbits.so": shared(tmp_path / "damaged.so", source)})
    (found,) = extensions(venv, tmp_path).values()
    assert isinstance(found.cuda_archs, Unknown)
    assert json.dumps(found.cuda_archs.unknown)
