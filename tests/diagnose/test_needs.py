"""Requirements of what is installed: what is not met is told, and nothing unreadable is complained of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st
from packaging.version import Version
from ward import patient

from flash_doctor.diagnose.requires_dist import first_of_each, fits, unmet, unmet_of_extras
from flash_doctor.model import Absent, Package, Packages, Python, Unknown, known

HEALTHY = patient("healthy-h100").environment


def healthy() -> tuple[Packages, Python]:
    packages, python = known(HEALTHY.packages), known(HEALTHY.python)
    assert packages is not None
    assert python is not None
    return packages, python


def asking(*lines: str) -> Package:
    package = healthy()[0].distributions[0]
    return replace(package, requires=lines)


@given(st.text(max_size=60))
def test_rubbish_is_no_requirement_and_no_crash(line: str) -> None:
    packages, python = healthy()
    list(unmet(asking(line), first_of_each(packages), python))


def found(*lines: str) -> list[str]:
    packages, python = healthy()
    return [need.requirement for need in unmet(asking(*lines), first_of_each(packages), python)]


def test_what_is_met_is_not_told() -> None:
    assert found("numpy", "numpy>=1.17,<3", "Torch==2.8.0", "typing_extensions>=4", "torch (>=2.0)") == []


def test_missing_and_wrong_are_told() -> None:
    assert found("dill<0.4", "numpy<2") == ["dill<0.4", "numpy<2"]


def test_markers_are_those_of_the_target() -> None:
    assert found('dill; python_version >= "3.12"', 'tomli; python_version < "3.11"') == ["dill"]
    assert found('pywin32; sys_platform == "win32"', 'dill; extra == "all"') == []


def test_a_line_that_cannot_be_read_asks_for_nothing() -> None:
    assert found("dill (>=0.4", "dill; python_version >>> 3", 'dill; moon == "full"', "dill_", "-rf") == []


def test_a_name_that_begins_with_extra_is_no_extra() -> None:
    assert found("extra-package", 'extras>1; platform_system == "Linux"', 'dill; platform_version != "extra"') == [
        "extra-package",
        "extras>1",
        "dill",
    ]


@pytest.mark.parametrize(
    ("specifier", "version", "fit"),
    [
        ("==2.8.0", "2.8.0+cu128", True),
        (">=2.0", "2.8.0a0+34c6371d24.nv25.8", True),
        (">=2.8", "2.8.0a0+34c6371d24.nv25.8", False),
        ("==2.7.*", "2.8.0", False),
        ("===rubbish", "1.0", False),
        (">=1.x", "1.0", True),
        ("", "1.0", True),
    ],
)
def test_versions_fit_as_pip_sees_it(specifier: str, version: str, fit: bool) -> None:
    assert fits(specifier, Version(version)) is fit


def test_a_version_that_was_not_read_is_not_complained_of() -> None:
    assert fits("==1.0", Absent())
    assert fits("==1.0", Unknown(unknown="METADATA is not UTF-8"))


def test_what_an_extra_brings_is_looked_up_one_step_deep() -> None:
    recorded = patient("cublas-of-cuda-13-missing").environment
    packages, python = known(recorded.packages), known(recorded.python)
    assert packages is not None
    assert python is not None
    torch = packages.find("torch")
    assert torch is not None
    needs = [need.requirement for need in unmet_of_extras(torch, first_of_each(packages), python)]
    assert needs == ["nvidia-cublas==13.1.0.3.*"]
