"""CUDA_VISIBLE_DEVICES as CUDA reads it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from flash_doctor.model import Gpu, MigDevice, Unknown
from flash_doctor.probe.gpu import visibility

SILENT = Unknown(unknown="not asked")


def gpu(index: int, name: str, uuid: str, slices: tuple[str, ...] = ()) -> Gpu:
    return Gpu(
        index=index,
        name=name,
        uuid=uuid,
        bus_id=SILENT,
        memory=SILENT,
        memory_used=SILENT,
        capability=SILENT,
        ecc=SILENT,
        mig=bool(slices),
        mig_devices=tuple(MigDevice(uuid=item, name="slice", memory=SILENT) for item in slices),
        processes=SILENT,
        fabric=SILENT,
        visible=SILENT,
    )


ALIKE = (gpu(0, "NVIDIA H100", "GPU-aa11"), gpu(1, "NVIDIA H100", "GPU-aa22"), gpu(2, "NVIDIA H100", "GPU-bb33"))
MIXED = (gpu(0, "Quadro P1000", "GPU-aa11"), gpu(1, "NVIDIA GeForce RTX 4090", "GPU-bb22"))
SLICED = (gpu(0, "NVIDIA A100", "GPU-aa11", ("MIG-cc11", "MIG-cc22")), gpu(1, "NVIDIA A100", "GPU-bb22"))


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, "111"),
        ("", "000"),
        ("-1", "000"),
        ("NoDevFiles", "000"),
        ("0", "100"),
        (" 2 , 0", "101"),
        ("0,-1,2", "100"),
        ("0,7,2", "100"),
        ("7", "000"),
        ("1,1", "000"),
        ("0,GPU-bb33", "100"),
        ("GPU-bb", "001"),
        ("GPU-aa", "000"),
        ("GPU-aa22,GPU-aa11", "110"),
        ("GPU-bb33,GPU-zz,GPU-aa11", "001"),
        ("GPU-bb33,GPU-bb33", "000"),
        ("GPU-", "000"),
    ],
)
def test_equal_gpus(value: str | None, seen: str) -> None:
    environ = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert visibility(ALIKE, environ) == tuple(digit == "1" for digit in seen)


def test_an_index_among_unequal_gpus_is_unknown() -> None:
    assert all(isinstance(part, Unknown) for part in visibility(MIXED, {"CUDA_VISIBLE_DEVICES": "0"}))


@pytest.mark.parametrize(
    ("environ", "seen"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, (True, False)),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, (True, True)),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, (False, False)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bb22"}, (False, True)),
    ],
)
def test_unequal_gpus_where_it_can_be_known(environ: dict[str, str], seen: tuple[bool, ...]) -> None:
    assert visibility(MIXED, environ) == seen


@pytest.mark.parametrize("value", ["MIG-cc22", "MIG-GPU-aa11/1/0"])
def test_a_slice_makes_its_gpu_visible(value: str) -> None:
    assert visibility(SLICED, {"CUDA_VISIBLE_DEVICES": value}) == (True, False)


def test_a_uuid_that_could_not_be_read_is_no_invisible_gpu() -> None:
    gpus = (replace(ALIKE[0], uuid=SILENT), ALIKE[1])
    assert all(isinstance(part, Unknown) for part in visibility(gpus, {"CUDA_VISIBLE_DEVICES": "GPU-aa22"}))
    assert visibility(gpus, {"CUDA_VISIBLE_DEVICES": "1"}) == (False, True)


@given(st.text(alphabet="0123456789-, +GPUMIGabc²٣x", max_size=30) | st.just("9" * 5000))
def test_any_text_is_read_without_an_error(value: str) -> None:
    for gpus in (ALIKE, MIXED, SLICED):
        assert len(visibility(gpus, {"CUDA_VISIBLE_DEVICES": value})) == len(gpus)


def test_no_gpus() -> None:
    assert visibility((), {"CUDA_VISIBLE_DEVICES": "0"}) == ()
