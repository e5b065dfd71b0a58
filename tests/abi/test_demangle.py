"""Mangled names: for people, and as witnesses; no name may hang or crash the doctor."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from flash_doctor.abi.demangle import cxx11_strings, demangle, is_c_shim, is_torch


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb",
            "c10::cuda::c10_cuda_check_implementation(int, char const*, char const*, unsigned int, bool)",
        ),
        ("_ZTVN5torch8autograd4NodeE", "vtable for torch::autograd::Node"),
        ("PyLong_FromLong", "PyLong_FromLong"),
        ("_ZN3c1", "_ZN3c1"),
        ("", ""),
    ],
)
def test_demangled(name: str, text: str) -> None:
    assert demangle(name) == text


def test_a_name_that_would_grow_without_end_stays_as_it_is() -> None:
    bomb = "_Z1fI1AE" + "".join(f"S{index:X}_S{index:X}_" for index in range(200))
    assert demangle(bomb) == bomb
    assert demangle("_Z" + "P" * 100_000 + "i") == "_Z" + "P" * 100_000 + "i"


@given(st.text(alphabet="_ZNSTELPKRIvijbc0123456789sat", max_size=120))
def test_any_name(tail: str) -> None:
    text = demangle("_Z" + tail)
    assert text
    assert len(text) < 50_000_000
    assert cxx11_strings(["_Z" + tail]) in {True, False, None}


@pytest.mark.parametrize(
    ("name", "torch", "shim"),
    [
        ("_ZN3c104cuda9SetDeviceEa", True, False),
        ("_ZNK2at10TensorBase4sizeEl", True, False),
        ("_ZTIN6caffe28TypeMetaE", True, False),
        ("_ZGVN5torch3fooE", True, False),
        ("THPVariableClass", True, False),
        ("aoti_torch_get_data_ptr", True, True),
        ("torch_call_dispatcher", True, True),
        ("_ZN4attr3fooEv", False, False),
        ("_ZNSt6vectorIN2at6TensorESaIS1_EED1Ev", False, False),
        ("PyLong_FromLong", False, False),
        ("THREAD", False, False),
    ],
)
def test_whose_symbol(name: str, torch: bool, shim: bool) -> None:
    assert (is_torch(name), is_c_shim(name)) == (torch, shim)
