"""Wheel tags against the target's Python, as packaging.tags would order them for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.version import Version
from ward import patient

from flash_doctor.diagnose.tags import misfit
from flash_doctor.model import Python, known


def python(version: str = "3.12.3", abi: str = "cp312", machine: str = "x86_64") -> Python:
    recorded = known(patient("healthy-h100").environment.python)
    assert recorded is not None
    return replace(
        recorded,
        version=Version(version),
        abi=abi,
        platform=f"linux_{machine}",
        markers={**recorded.markers, "platform_machine": machine},
    )


@pytest.mark.parametrize(
    "tag",
    [
        "cp312-cp312-linux_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp39-abi3-manylinux_2_28_x86_64",
        "cp312-none-any",
        "py3-none-any",
        "py2.py3-none-any",
        "py3-none-manylinux_2_27_x86_64",
        "rubbish",
    ],
)
def test_fits(tag: str) -> None:
    assert misfit((tag,), python()) is None


@pytest.mark.parametrize(
    ("tag", "word"),
    [
        ("cp310-cp310-linux_x86_64", "cp310"),
        ("cp313-abi3-linux_x86_64", "cp313"),
        ("cp312-cp312t-linux_x86_64", "cp312t"),
        ("cp312-cp312-linux_aarch64", "aarch64"),
        ("py3-none-win_amd64", "win_amd64"),
    ],
)
def test_does_not_fit(tag: str, word: str) -> None:
    why = misfit((tag,), python())
    assert why is not None
    assert word in why


def test_free_threaded_python_takes_no_stable_abi() -> None:
    assert misfit(("cp39-abi3-linux_x86_64",), python("3.13.0", "cp313t")) is not None
    assert misfit(("cp313-cp313t-linux_x86_64",), python("3.13.0", "cp313t")) is None


def test_one_fitting_tag_of_many_is_enough_and_none_says_nothing() -> None:
    assert misfit(("cp310-cp310-linux_x86_64", "py3-none-any"), python()) is None
    assert misfit((), python()) is None
