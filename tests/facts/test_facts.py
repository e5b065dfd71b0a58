"""The facts that ship: known truths, questions rules ask, and every invariant broken on purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from flash_doctor.errors import BadFacts
from flash_doctor.facts import Facts
from flash_doctor.model import Capability, FlashKind

if TYPE_CHECKING:
    from pathlib import Path

FACTS = Facts()
FILES = ["companions.toml", "drivers.toml", "gpus.toml", "publishers.toml", "torch.toml"]


def cc(text: str) -> Capability:
    major, minor = text.split(".")
    return Capability(major=int(major), minor=int(minor))


def v(text: str) -> Version:
    return Version(text)


@pytest.mark.parametrize(
    ("cuda", "full", "minimum"),
    [("12.1", "530.30.02", "525.60.13"), ("12.8.93", "570.26", "525.60.13"), ("13.2", "595.45.04", "580")],
)
def test_oldest_driver_of_a_cuda_build(cuda: str, full: str, minimum: str) -> None:
    need = FACTS.drivers.oldest_for(v(cuda))
    assert need is not None
    assert (need.full, need.minimum) == (v(full), v(minimum))


def test_wsl2_counts_in_the_numbers_of_the_windows_driver() -> None:
    need = FACTS.drivers.oldest_for(v("12.8"), windows=True)
    assert need is not None
    assert (need.full, need.minimum) == (v("570.65"), v("528.33"))


def test_a_cuda_minor_that_is_not_listed_has_a_floor_and_an_unknown_major_nothing() -> None:
    need = FACTS.drivers.oldest_for(v("13.9"))
    assert need is not None
    assert (need.full, need.minimum) == (None, v("580"))
    assert FACTS.drivers.oldest_for(v("19.0")) is None


def test_forward_compatibility_is_refused_on_geforce_only() -> None:
    assert FACTS.drivers.refuses_forward_compatibility("NVIDIA GeForce RTX 3090")
    assert not FACTS.drivers.refuses_forward_compatibility("NVIDIA A100-SXM4-80GB")


def test_all_28_torch_releases_of_the_atlas_are_there() -> None:
    assert len(FACTS.torch.releases) == 28
    assert FACTS.torch.newest.version == v("2.15.0")


def test_the_seed_release() -> None:
    release = FACTS.torch.release(v("2.3.1+cu121"))
    assert release is not None
    assert release.date.isoformat() == "2024-06-05"
    assert release.pythons == ("cp38", "cp39", "cp310", "cp311", "cp312")
    assert (release.cuda, release.triton.specifier) == (v("12.1"), "==2.3.1")
    assert (release.nccl.name, release.nccl.specifier) == ("nvidia-nccl-cu12", "==2.20.5")
    assert FACTS.torch.release(v("2.3.7")) is None


def test_the_abi_of_torch_2_6_depends_on_its_cuda() -> None:
    abi = {build.tag: build.cxx11abi for build in FACTS.torch.builds_of(v("2.6.0"))}
    assert abi == {"cu118": False, "cu124": False, "cu126": True}


def test_a_build_knows_its_index_and_its_gpu_code() -> None:
    build = FACTS.torch.build(v("2.8.0"), v("12.9"))
    assert build is not None
    assert build.index == "https://download.pytorch.org/whl/cu129"
    code = build.code["x86_64"]
    assert code is not None
    assert code.ptx == (cc("12.0"),)
    assert cc("7.0") in code.sass
    assert FACTS.torch.build(v("2.8.0"), v("11.8")) is None


def test_an_architecture_list_that_is_not_known_is_none_not_empty() -> None:
    build = FACTS.torch.build(v("2.9.0"), v("13.0"))
    assert build is not None
    assert build.code["aarch64"] is None


def test_partners_in_both_directions() -> None:
    assert FACTS.torch.partners("torchvision", v("2.8.0+cu128")) == (v("0.23.0"),)
    assert FACTS.torch.made_for("xformers", v("0.0.32.post2")) == (v("2.8.0"),)
    assert FACTS.torch.partners("torchvision", v("9.9")) == ()


def test_numpy_2_begins_with_torch_2_3() -> None:
    assert FACTS.torch.speaks_numpy2(v("2.3.0+cu121"))
    assert FACTS.torch.speaks_numpy2(v("2.3.0a0+ebedce2"))
    assert not FACTS.torch.speaks_numpy2(v("2.2.2"))


@pytest.mark.parametrize(
    ("code", "gpu", "runs"),
    [
        ("8.0", "8.6", True),
        ("8.0", "8.9", True),
        ("8.6", "8.0", False),
        ("8.0", "9.0", False),
        ("10.0", "10.3", True),
        ("12.0", "12.1", True),
        ("8.0", "8.7", False),
        ("8.7", "8.7", True),
        ("8.7", "8.9", False),
    ],
)
def test_sass_runs_upward_within_a_major_version_and_not_on_tegra(code: str, gpu: str, runs: bool) -> None:
    assert FACTS.gpus.runs_sass(cc(code), cc(gpu)) is runs


def test_ptx_runs_on_anything_newer() -> None:
    assert FACTS.gpus.covers((), (cc("9.0"),), cc("12.0"))
    assert not FACTS.gpus.covers((cc("8.0"),), (cc("12.0"),), cc("10.0"))


def test_which_gpu_runs_which_flash_attention() -> None:
    assert FACTS.gpus.oldest_for(FlashKind.FA2) == cc("8.0")
    turing = FACTS.gpus.of(cc("7.5"))
    assert turing is not None
    assert turing.flash == frozenset({FlashKind.FA1})
    assert FACTS.gpus.of(cc("99.0")) is None


def test_gpu_code_of_prebuilt_wheels() -> None:
    gpus = FACTS.gpus
    assert gpus.flash_sass("dao-ailab", v("2.7.4.post1"), v("12.4")) == (cc("8.0"), cc("9.0"))
    assert gpus.flash_sass("dao-ailab", v("2.8.3"), v("12.9")) == (cc("8.0"), cc("9.0"), cc("10.0"), cc("12.0"))
    assert gpus.flash_sass("mjun0812", v("2.8.3"), v("12.6")) == (cc("8.0"), cc("9.0"))
    assert gpus.flash_sass("nobody", v("2.8.3"), v("12.6")) is None


@pytest.mark.parametrize(
    ("xformers", "flash", "admitted", "fatal"),
    [
        ("0.0.30", "2.7.4.post1", True, True),
        ("0.0.30", "2.8.0.post2", False, True),
        ("0.0.31.post1", "2.8.0.post2", True, True),
        ("0.0.32.post2", "2.8.2", True, True),
        ("0.0.32.post2", "2.8.3", False, True),
        ("0.0.35", "2.8.3.post1", True, True),
        ("0.0.29.post3", "2.8.3", False, False),
    ],
)
def test_xformers_window(xformers: str, flash: str, admitted: bool, fatal: bool) -> None:
    window = FACTS.companions.flash_window("xformers", v(xformers))
    assert window is not None
    assert (window.admits(v(flash)), window.fatal) == (admitted, fatal)


def test_the_newest_compiler_that_nvcc_takes() -> None:
    compiler = FACTS.companions.host_compiler(v("12.4.131"))
    assert compiler is not None
    assert (compiler.gcc, compiler.clang) == (13, 17)
    assert FACTS.companions.host_compiler(v("99.0")) is None


def test_torchao_has_no_pin_but_a_table() -> None:
    assert FACTS.companions.torch_for_torchao(v("0.14.1")) == (v("2.9"),)
    assert FACTS.companions.torch_for_torchao(v("99.0")) == ()


def test_packages_whose_files_are_compared() -> None:
    assert {"torch", "flash-attn", "torchvision"} <= FACTS.companions.recorded


def altered(tmp_path: Path, file: str, old: str, new: str) -> Facts:
    """The shipped facts with one file changed in one place."""
    for name in FILES:
        text = (FACTS.folder / name).read_text(encoding="utf-8")
        if name == file:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return Facts(tmp_path)


def load_all(facts: Facts) -> None:
    assert all((facts.drivers, facts.gpus, facts.torch, facts.companions, facts.publishers))


@pytest.mark.parametrize(
    ("file", "old", "new", "names"),
    [
        ("drivers.toml", '"12.8" = { linux = "570.26 ', '"12.8" = { linux = "R570 ', "toolkit.12.8: linux: 'R570'"),
        ("drivers.toml", '"570.26 570.124.06"', '"570.26 570.1"', "toolkit.12.8: linux: updates"),
        ("drivers.toml", '"13" = { linux', '"14" = { linux', "toolkit.13.0: name: [major] has no row 13"),
        (
            "drivers.toml",
            'names = ["GeForce", "TITAN"]',
            "names = [7]",
            "forward_compatibility.refused: names: must hold texts only",
        ),
        ("drivers.toml", 'source = "threads" }', 'source = "hearsay" }', "toolkit.13.3: source: 'hearsay' is none"),
        ("drivers.toml", ', source = "threads" }', " }", "toolkit.13.3: source: None is none"),
        ("gpus.toml", 'arch = "hopper"', 'arhc = "hopper"', "capability.9.0: arhc: is not a key"),
        ("gpus.toml", 'flash = ["FA1"]', 'flash = ["FA7"]', "capability.7.5: flash: 'FA7' is no generation"),
        ("gpus.toml", 'sass = "8.0 9.0"', 'sass = "8.0 9.7"', "flash_wheel.1: sass: 9.7 is no compute capability"),
        ("gpus.toml", '"L4", ', '"A30", ', "product.8.9: name: 'A30' is listed twice"),
        ("gpus.toml", '"9.0" = { arch', '"9_0" = { arch', "capability.9_0: name: '9_0' is no capability"),
        ("torch.toml", "date = 2024-06-05", 'date = "2024-06-05"', "release.2.3.1: date: must be date"),
        ("torch.toml", 'cuda = "13.2"', 'cuda = "13.7"', "release.2.15.0: cuda: drivers.toml does not know CUDA 13.7"),
        ("torch.toml", 'archs = "3.7 ', 'archs = "3.9 ', "build.2.0.cu117: archs: gpus.toml does not know 3.9"),
        ("torch.toml", '"2.3.1" = {', '"2,3,1" = {', "release.2,3,1: name: '2,3,1' is no version"),
        ("torch.toml", '[build."2.15"]', '[build."2.16"]', "release.2.15.0: name: [build] has no table"),
        ("torch.toml", "cp38 cp39", "py38 cp39", "release.2.0.0: pythons: 'py38' is no CPython tag"),
        ("torch.toml", 'nccl = "nvidia-nccl-cu11==', 'nccl = "nvidia-nccl-cu11 ', "release.2.0.0: nccl: must be"),
        ("companions.toml", 'below = "2.4"', 'below = "2.2"', "flash_window.1: below: 2.2 leaves no version"),
        ("companions.toml", "share = 0.60", "share = 60.0", "limit.disk_warning: share: must lie between 0 and 1"),
        ("companions.toml", "\ntemp = ", "\ntmp = ", "limit.temp: name: the limits are"),
        ("companions.toml", "gcc = 15", 'gcc = "15"', "nvcc.13.0: gcc: must be int, not '15'"),
        (
            "publishers.toml",
            'index = "https://wheels',
            'index = "http://wheels',
            "publisher.astral: index: must be https",
        ),
        ("publishers.toml", "simple/{tag}/", "simple/", "publisher.astral: index: must be an https address with {tag}"),
        ("publishers.toml", "&page={page}", "", "publisher.dao-ailab: releases: must be an https address with {page}"),
        (
            "publishers.toml",
            "https://api.github.com/repos/D",
            "https://x@y/D",
            "publisher.dao-ailab: releases: must be",
        ),
        (
            "publishers.toml",
            '"https://codcordance.github.io/',
            '"https://c.github.io/../',
            "publisher.codcordance: addr",
        ),
        (
            "publishers.toml",
            "https://thomasjpfan.github.io/flash-attn-whl/",
            "https://github.com/Dao-AILab/flash-attention/releases/download/",
            "publisher.thomasjpfan: addresses: one of them is dao-ailab's",
        ),
        ("publishers.toml", "rank = 0", 'rank = "0"', "publisher.dao-ailab: rank: must be int"),
        ("publishers.toml", '"https://flashattn', '"flashattn', "never.1: url: must be https"),
        ("drivers.toml", 'source = "threads" }', 'source = "nvidia" }', "sources.threads: name: no row cites it"),
        ("companions.toml", "flash-attn-3 =", "flash_attn_3 =", "package.flash_attn_3: name: must be written"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, file: str, old: str, new: str, names: str) -> None:
    facts = altered(tmp_path, file, old, new)
    with pytest.raises(BadFacts) as caught:
        load_all(facts)
    assert any(f"{file}: {names}" in fault for fault in caught.value.evidence), caught.value.evidence


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    facts = altered(tmp_path, "drivers.toml", '"12.8" = { linux = "570.26 ', '"12.8" = { linux = "R570 ')
    path = tmp_path / "drivers.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('"525.60.13 ', '"R525 '), encoding="utf-8")
    with pytest.raises(BadFacts, match="breaks 2 rule") as caught:
        load_all(facts)
    assert [fault.split(": ")[1] for fault in caught.value.evidence] == ["toolkit.12.0", "toolkit.12.8"]


@pytest.mark.parametrize("content", [b"[release\n", b'a = "\xff"', b"a = 1\na = 2\n", None])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes | None) -> None:
    facts = altered(tmp_path, "gpus.toml", "[capability]", "[capability]")
    (tmp_path / "gpus.toml").unlink()
    if content is not None:
        (tmp_path / "gpus.toml").write_bytes(content)
    with pytest.raises(BadFacts, match=r"gpus\.toml of the wheel matrix cannot be read"):
        load_all(facts)


def test_the_variable_names_another_folder(tmp_path: Path) -> None:
    altered(tmp_path, "drivers.toml", "", "")
    code = "from flash_doctor.facts import Facts; print(Facts().folder)"
    environment = {**os.environ, "FLASH_DOCTOR_FACTS": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.strip() == str(tmp_path)


def test_parts_are_read_only_when_asked_for(tmp_path: Path) -> None:
    facts = altered(tmp_path, "torch.toml", "[release]", "[nothing")
    assert facts.drivers.toolkits
    with pytest.raises(BadFacts):
        _ = facts.torch


def test_an_installed_package_reads_the_facts_inside_itself(tmp_path: Path) -> None:
    package = tmp_path / "flash_doctor"
    source = FACTS.folder.parent / "src" / "flash_doctor"
    for name in ("facts", "model", "system"):
        shutil.copytree(source / name, package / name)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(source / name, package / name)
    shutil.copytree(FACTS.folder, package / "wheel_matrix", ignore=shutil.ignore_patterns("wheels", "abi"))
    code = "from flash_doctor.facts import Facts; facts = Facts(); print(facts.folder, facts.torch.newest.version)"
    environment = {name: value for name, value in os.environ.items() if name != "FLASH_DOCTOR_FACTS"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**environment, "PYTHONPATH": str(tmp_path)}
    )
    assert result.stdout.split() == [str(package / "wheel_matrix"), "2.15.0"], result.stderr
