"""The shipped atlas, against real binaries and the landmarks of torch's history."""

from __future__ import annotations

import datetime
import gzip
import json
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from flash_doctor.abi.atlas import Atlas, AtlasImage, in_torch_namespace
from flash_doctor.abi.binary import read_binary
from flash_doctor.abi.built_for import Standing, plain_release
from flash_doctor.errors import BadFacts

SHIPPED = Path(__file__).parents[2] / "wheel_matrix" / "abi" / "atlas.bin"
# Strong undefined symbols of every shared object in 28 torchvision wheels (read with nm, November 2026), and the
# torch releases whose build on the package index exports all of them.
TORCHVISION = Path(__file__).parents[1] / "data" / "torchvision_symbols.json.gz"
REAL: list[dict[str, Any]] = json.loads(gzip.decompress(TORCHVISION.read_bytes()))

CHECK = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_"
SET_DEVICE = "_ZN3c104cuda9SetDeviceE"
ERROR = "_ZN3c105ErrorC2ENS_14SourceLocationE"
THAT_DAY = datetime.date(2025, 10, 31)


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return Atlas.open(SHIPPED)


def versions(texts: list[str]) -> tuple[Version, ...]:
    return tuple(Version(text) for text in texts)


def stub(folder: Path, undefined: list[str]) -> Path:
    """A shared library that refers to exactly these symbols, the versioned ones through a library that has them."""
    wanted = dict(symbol.partition("@")[::2] for symbol in undefined)
    by_version = defaultdict(list)
    for name, version in wanted.items():
        by_version[version].append(name)
    nodes = [f"{version} {{ global: {'; '.join(names)}; }};" for version, names in by_version.items() if version]
    versioned = [name for name, version in wanted.items() if version]
    (folder / "provider.map").write_text("\n".join(nodes))
    provider = "\n".join(f".globl {name}\n.type {name}, @object\n{name}: .quad 0" for name in versioned)
    link(folder, "provider", f".data\n{provider}\n", "-Wl,--version-script=provider.map")
    table = "\n".join(f".quad {name}" for name in wanted)
    return link(folder, "stub", f".data\n{table}\n", "-Wl,--unresolved-symbols=ignore-all", "provider.so")


def link(folder: Path, name: str, assembly: str, *options: str) -> Path:
    (folder / f"{name}.s").write_text(assembly)
    command = ["gcc", "-shared", "-nostdlib", "-o", f"{name}.so", f"{name}.s", *options]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / f"{name}.so"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize(
    "real", REAL, ids=lambda real: "-".join(real["wheel"].split("-")[:2]) + "-" + Path(real["so"]).stem
)
def test_torchvision_binaries_come_out_with_exactly_the_releases_that_export_all(
    real: dict[str, Any], atlas: Atlas, tmp_path: Path
) -> None:
    binary = read_binary(stub(tmp_path, real["undefined"]))
    wanted = [str(symbol) for symbol in binary.wanted]
    assert sorted(wanted) == sorted(real["undefined"])
    assert atlas.releases_exporting_all(wanted) == versions(real["expected_releases"])
    if real["built_for"]:
        assert Version(real["built_for"]) in versions(real["expected_releases"])


def test_there_are_54_of_them() -> None:
    assert len(REAL) == 54


@pytest.mark.parametrize(
    ("symbol", "ranges"),
    [
        (CHECK + "ib", "2.0–2.9"),
        (CHECK + "jb", "2.10–2.13"),
        (CHECK + "jbPNS0_19CUDAErrorLogCaptureE", "2.14–2.15"),
        (SET_DEVICE + "i", "2.1–2.2"),
        (SET_DEVICE + "a", "2.3–2.7"),
        (SET_DEVICE + "ab", "2.8–2.15"),
        (ERROR + "Ss", "2.0–2.6"),
        (ERROR + "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE", "2.7–2.15"),
        (CHECK, ""),
        ("PyObject_Call", ""),
    ],
)
def test_landmarks(atlas: Atlas, symbol: str, ranges: str) -> None:
    age = atlas.explain_symbol(symbol)
    assert age.ranges == ranges
    assert age.of_torch == (symbol != "PyObject_Call")
    assert (age.first, age.last) == ((age.exported_by[0], age.exported_by[-1]) if ranges else (None, None))


@pytest.mark.parametrize(
    ("symbol", "of_torch"),
    [
        ("_ZdlPvm", False),
        ("_ZSt28__throw_bad_array_new_lengthv", False),
        ("_ZN8pybind116detail11type_casterIN2at6TensorEvE4loadENS_6handleEb", True),
        ("THPVariableClass", True),
        ("aoti_torch_empty_strided", True),
    ],
)
def test_what_torch_exports_along_is_not_torchs_own(atlas: Atlas, symbol: str, of_torch: bool) -> None:
    age = atlas.explain_symbol(symbol)
    assert age.exported_by
    assert age.of_torch == of_torch


def test_the_story_from_the_field(atlas: Atlas) -> None:
    missing = atlas.exported_by(CHECK + "jb")
    answer = atlas.built_for(missing, installed=Version("2.8.0"), on=THAT_DAY)
    assert str(answer) == "built for torch 2.10–2.13 or a nightly on the way to 2.10, newer than the installed 2.8.0"
    assert answer.only_nightly
    assert answer.dated == "none of these had come out by 2025-10-31: only a nightly on the way to 2.10 is left"
    assert str(atlas.built_for(atlas.exported_by(CHECK + "ib"))) == "built for torch 2.9 or older"


def test_the_day_matters_only_before_the_first_release(atlas: Atlas) -> None:
    missing = atlas.exported_by(CHECK + "jb")
    first_out = atlas.released[missing[0]]
    assert first_out.isoformat()[:7] == "2026-01"
    assert atlas.built_for(missing, on=first_out - datetime.timedelta(days=1)).only_nightly
    assert not atlas.built_for(missing, on=first_out).only_nightly
    assert not atlas.built_for(missing).only_nightly


@pytest.mark.parametrize("version", ["2.9.0a0+145a3a7bda.nv25.10", "2.10.0.dev20251030+cu128", "2.3.0+nv24.5", "9.0.0"])
def test_a_torch_outside_the_atlas_is_said_to_be_so(atlas: Atlas, version: str) -> None:
    newest = atlas.releases[-1:]
    assert not atlas.covers(Version(version))
    answer = atlas.built_for(newest, installed=Version(version))
    assert answer.standing is Standing.OUTSIDE
    assert f"the installed {version} is outside the atlas" in str(answer)


@pytest.mark.parametrize("version", ["2.9.1", "2.9.1+cu128", "2.9.1+cpu", "2.9.1+rocm6.4"])
def test_builds_of_a_release_are_inside(atlas: Atlas, version: str) -> None:
    assert plain_release(Version(version)) == Version("2.9.1")
    assert atlas.covers(Version(version))


def test_needs_nothing_of_torch(atlas: Atlas) -> None:
    assert atlas.releases_exporting_all([]) is None
    assert atlas.releases_exporting_all(["PyObject_Call", "memcpy@GLIBC_2.14"]) is None


def test_a_name_of_torch_that_no_release_exports_leaves_none(atlas: Atlas) -> None:
    assert atlas.releases_exporting_all([CHECK + "jb", "_ZN3c1012not_there_atEv"]) == ()


def test_a_versioned_symbol_is_not_torchs(atlas: Atlas) -> None:
    assert atlas.releases_exporting_all([CHECK + "jb@SOMEONE_1.0"]) is None


@pytest.mark.parametrize(
    "name",
    [
        "_ZN3c105ErrorD1Ev",
        "_ZNK2at6Tensor3dimEv",
        "_ZTIN5torch8autograd4NodeE",
        "_ZTVN3c105ErrorE",
        "_ZThn8_N3c105ErrorD0Ev",
    ],
)
def test_names_in_torchs_namespaces(name: str) -> None:
    assert in_torch_namespace(name)


@pytest.mark.parametrize(
    "name", ["_ZN13c10NamespaceE", "_ZNSt6vectorIN3c104SymIntESaIS1_EED1Ev", "_ZN6vision3nmsEv", "THPVariable"]
)
def test_names_outside_of_them(name: str) -> None:
    assert not in_torch_namespace(name)


def test_what_is_shipped_is_small_and_says_where_it_comes_from(atlas: Atlas) -> None:
    assert SHIPPED.stat().st_size <= 3_000_000
    provenance = atlas.provenance
    assert tuple(release.version for release in provenance) == atlas.releases == tuple(sorted(atlas.releases))
    assert atlas.releases[0] == Version("2.0.0")
    for release in provenance:
        assert re.fullmatch(r"[0-9a-f]{64}", release.sha256)
        assert release.wheel.startswith(f"torch-{release.version}-")
        assert release.wheel.endswith("x86_64.whl")
        assert release.released <= release.read
        assert len(release.libraries) == 7
        assert max(release.libraries.values()) <= release.names <= sum(release.libraries.values())


def test_the_body_holds_as_many_names_of_each_release_as_were_read(atlas: Atlas) -> None:
    counts = [0] * len(atlas.releases)
    for _, mask in AtlasImage(SHIPPED.read_bytes(), "atlas.bin").masks():
        for bit in range(len(counts)):
            counts[bit] += mask >> bit & 1
    assert counts == [release.names for release in atlas.provenance]


def copy(folder: Path) -> Path:
    for suffix in (".bin", ".toml"):
        shutil.copy(SHIPPED.with_suffix(suffix), folder)
    return folder / "atlas.bin"


def test_a_copy_works_and_a_changed_text_beside_it_does_not(tmp_path: Path) -> None:
    path = copy(tmp_path)
    assert Atlas.open(path).exported_by(CHECK + "jb")
    with path.with_suffix(".toml").open("a") as file:
        file.write("# touched\n")
    with pytest.raises(BadFacts, match=r"not the one that atlas\.toml describes"):
        Atlas.open(path)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\0" * 100_000])
def test_rubbish_in_its_place(tmp_path: Path, content: bytes) -> None:
    path = copy(tmp_path)
    path.write_bytes(content)
    with pytest.raises(BadFacts):
        Atlas.open(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(BadFacts, match="cannot be used"):
        Atlas.open(tmp_path / "atlas.bin")


def test_opening_the_shipped_one_needs_no_path() -> None:
    assert Atlas.open().releases == Atlas.open(SHIPPED).releases
