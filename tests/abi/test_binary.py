"""What an extension was built for, told from files made for one answer each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from compiled import references, shared, versioned
from flash_doctor.abi.binary import Binary, NumpyApi, read_binary, torch_cxx11abi
from flash_doctor.model import Absent, Part, Unknown

if TYPE_CHECKING:
    from pathlib import Path

NEW = "_ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
OLD = "_ZN3c105ErrorC1ENS_14SourceLocationESs"
SHIM = "aoti_torch_get_data_ptr"


def built(folder: Path, *symbols: str, name: str = "ext.so", source: str = "") -> Binary:
    return read_binary(shared(folder / name, references(symbols) + source))


@pytest.mark.parametrize(
    ("symbols", "answer"),
    [
        ([NEW], True),
        ([OLD], False),
        (["_ZN3c106detail14torchCheckFailEPKcS2_jRKSs"], False),
        (["_ZN3c106detail14torchCheckFailEPKcS2_jS2_"], None),
        ([], None),
        ([NEW, OLD], None),
        (["_ZN3c107ClassSs4nameEv"], None),  # Ss within an identifier is no string
        (["_ZN3c109S1_SsClasERKS1_S3_"], None),
        (["_ZN2at3fooILi7EEEvSs"], False),
        (["_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE9_M_appendEPKcm"], True),
        (["_ZNSsC1ERKSs"], False),
        ([OLD, "_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE9_M_appendEPKcm"], False),
    ],
)
def test_the_kind_of_string(tmp_path: Path, symbols: list[str], answer: bool | None) -> None:
    assert built(tmp_path, *symbols).cxx11abi is answer


def test_links_torch_and_how(tmp_path: Path) -> None:
    whole = built(tmp_path, NEW, SHIM, "_ZTVN5torch8autograd4NodeE", "PyLong_FromLong", "_ZNSt6vectorIiE4sizeEv")
    assert (whole.links_torch, whole.stable_torch) == (True, False)
    assert whole.torch_symbols == tuple(sorted([NEW, SHIM, "_ZTVN5torch8autograd4NodeE"]))
    stable = built(tmp_path, SHIM, "torch_call_dispatcher", "PyLong_FromLong")
    assert (stable.links_torch, stable.stable_torch) == (True, True)
    plain = built(tmp_path, "PyLong_FromLong")
    assert (plain.links_torch, plain.stable_torch, plain.torch_symbols) == (False, False, ())


def test_a_library_name_is_enough_to_link_torch(tmp_path: Path) -> None:
    torch = shared(tmp_path / "libtorch_cuda.so", "", "-Wl,-soname,libtorch_cuda.so")
    path = shared(tmp_path / "ext.so", "", "-Wl,--no-as-needed", str(torch))
    assert read_binary(path).links_torch


@pytest.mark.parametrize(
    ("name", "abi", "fits", "not_for"),
    [
        ("m.cpython-312-x86_64-linux-gnu.so", "cp312", "cp312", "cp311"),
        ("m.cpython-313t-x86_64-linux-gnu.so", "cp313t", "cp313t", "cp313"),
        ("m.abi3.so", "abi3", "cp312", "cp313t"),
    ],
)
def test_python_by_the_file_name(tmp_path: Path, name: str, abi: str, fits: str, not_for: str) -> None:
    binary = built(tmp_path, "PyLong_FromLong", name=name)
    assert binary.python_abi == abi
    assert binary.fits_python(fits) is True
    assert binary.fits_python(not_for) is False


def test_python_where_the_name_says_nothing(tmp_path: Path) -> None:
    assert isinstance(built(tmp_path, "PyLong_FromLong").python_abi, Unknown)
    assert isinstance(built(tmp_path, NEW).python_abi, Absent)
    assert built(tmp_path, NEW).fits_python("cp312") is None


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (["numpy.core._multiarray_umath", "_ARRAY_API"], NumpyApi.ONE),
        (["numpy.core._multiarray_umath", "numpy._core._multiarray_umath"], NumpyApi.TWO),
        (["numpy.core.multiarray"], Unknown),
        (["something else"], Absent),
    ],
)
def test_numpy_by_the_module_it_asks_for(tmp_path: Path, texts: list[str], answer: NumpyApi | type) -> None:
    source = "".join(f'const char text{i}[] = "{text}";' for i, text in enumerate(texts))
    numpy: Part[NumpyApi] = built(tmp_path, "PyCapsule_GetPointer", source=source).numpy
    assert numpy is answer or (isinstance(answer, type) and isinstance(numpy, answer))
    without: Part[NumpyApi] = built(tmp_path, source=source).numpy
    assert isinstance(without, Absent)


def test_the_newest_versions_needed(tmp_path: Path) -> None:
    libc = {"GLIBC_2.9": ["old"], "GLIBC_2.34": ["new"], "GLIBC_PRIVATE": ["private"]}
    versioned(tmp_path / "libc.so.6", "libc.so.6", libc, "-nostdlib")
    versioned(tmp_path / "libstdc++.so.6", "libstdc++.so.6", {"GLIBCXX_3.4.9": ["a"], "GLIBCXX_3.4.30": ["b"]})
    libraries = [str(tmp_path / name) for name in ("libc.so.6", "libstdc++.so.6")]
    binary = read_binary(
        shared(tmp_path / "ext.so", references(["old", "new", "private", "a", "b"]), *libraries, "-nostdlib")
    )
    assert (binary.glibc, binary.glibcxx, binary.cxxabi) == (Version("2.34"), Version("3.4.30"), None)
    assert binary.needed == ("libc.so.6", "libstdc++.so.6")


@pytest.mark.parametrize(("symbols", "answer"), [([NEW], True), ([OLD], False), ([], None), ([NEW, OLD], None)])
def test_the_string_of_a_torch(tmp_path: Path, symbols: list[str], answer: bool | None) -> None:
    source = "".join(
        f'int f{i}(void) __asm__("{name}"); int f{i}(void) {{return 1;}}' for i, name in enumerate(symbols)
    )
    assert torch_cxx11abi(shared(tmp_path / "libc10.so", source)) is answer
