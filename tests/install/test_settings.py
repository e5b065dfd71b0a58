"""Which variables a plan may set for a compile: a closed list with a form for each value."""

from __future__ import annotations

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.install.compile import ALLOWED, accept_settings

GOOD = {
    "FLASH_ATTENTION_FORCE_BUILD": ("TRUE", "FALSE"),
    "FLASH_ATTENTION_SKIP_CUDA_BUILD": ("TRUE",),
    "FLASH_ATTN_CUDA_ARCHS": ("80", "80;90", "90;100;120", ""),
    "TORCH_CUDA_ARCH_LIST": ("8.0", "8.0;9.0+PTX", "9.0a", "12.0f 12.1"),
    "MAX_JOBS": ("1", "256"),
    "NVCC_THREADS": ("4",),
}
BAD = ("$(id)", "80 $(id)", "TRUE\n", "true;id", "-1", "0", "1e9", "/tmp/x", "٣", "90\0", "9" * 10000, "8.0;;9.0", " ")


def test_every_variable_of_the_list_has_values_that_pass() -> None:
    assert GOOD.keys() == ALLOWED.keys()
    for name, values in GOOD.items():
        for value in values:
            assert accept_settings([(name, value)]) == ((name, value),)
    together = [(name, values[0]) for name, values in GOOD.items()]
    assert accept_settings(together) == tuple(together)


@pytest.mark.parametrize("name", ALLOWED)
@pytest.mark.parametrize("value", BAD)
def test_a_value_of_another_form_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=name):
        accept_settings([(name, value)])


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PATH", "CC", "CXX",
        "CFLAGS", "CXXFLAGS", "LDFLAGS", "NVCC", "CUDA_HOME", "CUDA_PATH", "NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS",
        "CMAKE_ARGS", "PIP_INDEX_URL", "SETUPTOOLS_USE_DISTUTILS", "DISTUTILS_USE_SDK", "BASH_ENV", "HOME", "TMPDIR",
        "max_jobs", "MAX_JOBS ", "MAX_JOBS\n", "", "MAX_JOBS=1\0LD_PRELOAD", "GIT_SSH_COMMAND", "http_proxy",
    ],
)  # fmt: skip
def test_any_other_variable_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        accept_settings([("MAX_JOBS", "1"), (name, "1")])
    assert repr(name) in caught.value.message
    assert caught.value.advice


def test_a_variable_that_stands_there_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="MAX_JOBS") as caught:
        accept_settings([("MAX_JOBS", "1"), ("MAX_JOBS", "2")])
    assert caught.value.evidence == ("it is set twice",)
