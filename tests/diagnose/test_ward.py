"""The ward itself: every patient decodes, names a disease, and differs from its base as its file says."""

from __future__ import annotations

import pytest
from ward import merge, names, patient

from flash_doctor.model import Absent, known


@pytest.mark.parametrize("name", names())
def test_every_patient_is_a_whole_environment(name: str) -> None:
    recorded = patient(name)
    assert recorded.about
    assert recorded.fires == tuple(sorted(set(recorded.fires)))
    assert recorded.name == name


def test_the_healthy_machine_is_complete() -> None:
    healthy = patient("healthy-h100").environment
    gaps = [name for name, part in healthy.parts().items() if known(part) is None]
    assert gaps == ["other_doctor", "requirements", "extensions"]
    flash = known(healthy.flash)
    assert flash is not None
    assert [package.name for package in flash.packages] == ["flash-attn"]


def test_a_patch_merges_objects_and_replaces_the_rest() -> None:
    base = {"driver": {"module": "580", "failure": {"absent": "well"}}, "indexes": [1, 2]}
    patch = {"driver": {"failure": "NVML_ERROR 9"}, "indexes": [3]}
    assert merge(base, patch) == {"driver": {"module": "580", "failure": "NVML_ERROR 9"}, "indexes": [3]}
    assert merge(base, {"driver": {"absent": "no module"}})["driver"] == {"absent": "no module"}
    assert merge({"driver": {"absent": ""}}, {"driver": {"module": "1"}}) == {"driver": {"module": "1"}}


def test_absent_is_a_value_of_its_own() -> None:
    assert isinstance(patient("healthy-h100").environment.requirements, Absent)
