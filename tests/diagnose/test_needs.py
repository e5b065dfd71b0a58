"""Requirements: our quick reading agrees with packaging's own parser, and nothing readable is complained of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ward import names, patient

from flash_doctor.diagnose.needs import _parse, first_of_each, fits, holds, unmet, unmet_of_extras
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


def every_line() -> list[str]:
    packages = [known(patient(name).environment.packages) for name in names()]
    lines = {line for found in packages if found for package in found.distributions for line in package.requires}
    return sorted(lines)


OPERATORS = st.sampled_from(["==", ">=", "<=", "!=", "~=", ">", "<"])
CLAUSES = st.builds(lambda op, one, two: f"{op}{one}.{two}", OPERATORS, st.integers(0, 30), st.integers(0, 30))
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,6}([-_.][A-Za-z0-9]{1,4})?", fullmatch=True)
MARKERS = st.sampled_from(
    [
        "",
        '; python_version < "3.11"',
        '; platform_system == "Linux" and platform_machine == "x86_64"',
        " ; os_name=='nt'",
    ]
)
EXTRAS = st.sampled_from(["", "[http]", "[a,b-c]"])
SHAPES = st.sampled_from(["{0}{1}{2}{3}", "{0}{1} {2}{3}", "{0} {1} ({2}){3}", "  {0}{1}{2} {3}"])


def test_the_ward_holds_real_lines() -> None:
    assert len(every_line()) > 60


@pytest.mark.parametrize("line", every_line())
def test_real_lines_are_read_as_packaging_reads_them(line: str) -> None:
    agrees(line)


@given(SHAPES, NAMES, EXTRAS, st.lists(CLAUSES, max_size=3).map(",".join), MARKERS)
def test_any_line_is_read_as_packaging_reads_it(shape: str, name: str, extras: str, clauses: str, marker: str) -> None:
    line = shape.format(name, extras, clauses, marker) if clauses else f"{name}{extras}{marker}"
    agrees(line)


def agrees(line: str) -> None:
    theirs, ours = Requirement(line.strip()), _parse(line)
    if theirs.marker and "extra" in str(theirs.marker):
        assert ours is None
        return
    assert ours is not None
    name, specifier, marker = ours
    assert name == canonicalize_name(theirs.name)
    assert {*filter(None, specifier.split(","))} == {str(one) for one in theirs.specifier}
    assert (marker is None) == (theirs.marker is None)


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


def test_a_marker_that_cannot_be_read_holds_not() -> None:
    assert not holds("python_version >>> 3", {"python_version": "3.12"})
    assert not holds('moon == "full"', {"python_version": "3.12"})


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
