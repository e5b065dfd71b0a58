"""Machines in words: what is understood, and what is answered to what is not."""

from __future__ import annotations

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, Unknown, known
from flash_doctor.resolve import describe
from flash_doctor.resolve.describe import capability_of
from seats import facts


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("H100", "9.0"),
        ("NVIDIA H100", "9.0"),
        ("h200", "9.0"),
        ("A100", "8.0"),
        ("a10g", "8.6"),
        ("RTX 4090", "8.9"),
        ("RTX 5090", "12.0"),
        ("rtx 3090", "8.6"),
        ("L4", "8.9"),
        ("T4", "7.5"),
        ("V100", "7.0"),
        ("B200", "10.0"),
        ("GB10", "12.1"),
        ("sm_90", "9.0"),
        ("12.0", "12.0"),
        ("sm_103", "10.3"),
    ],
)
def test_gpu_names(name: str, capability: str) -> None:
    assert str(capability_of(name, facts())) == capability


@pytest.mark.parametrize("name", ["Voodoo 2", "RTX", "", "RTX 5000"])
def test_gpus_that_mean_nothing_or_several_things(name: str) -> None:
    with pytest.raises(BadInput, match="GPU"):
        capability_of(name, facts())


def test_counts_and_mixtures() -> None:
    gpus = known(describe(facts(), gpu="H100x8").gpus)
    assert gpus is not None
    assert len(gpus.devices) == 8
    mixed = known(describe(facts(), gpu="A100x2,T4").gpus)
    assert mixed is not None
    assert [str(known(gpu.capability)) for gpu in mixed.devices] == ["8.0", "8.0", "7.5"]
    assert [gpu.index for gpu in mixed.devices] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "cuda", "abi"),
    [("2.8.0+cu128", "12.8", True), ("2.6.0", "12.4", False), ("2.6.0+cu126", "12.6", True), ("2.11.0", "13.0", True)],
)
def test_torch(text: str, cuda: str, abi: bool) -> None:
    torch = known(describe(facts(), torch=text).torch)
    assert torch is not None
    assert str(known(torch.cuda)) == cuda
    assert torch.cxx11abi is abi


def test_torch_of_other_kinds() -> None:
    cpu = known(describe(facts(), torch="2.8.0+cpu").torch)
    assert cpu is not None
    assert isinstance(cpu.cuda, Absent)
    rocm = known(describe(facts(), torch="2.8.0+rocm6.4").torch)
    assert rocm is not None
    assert rocm.hip == "rocm6.4"
    ngc = known(describe(facts(), torch="2.8.0a0+5228986c39.nv25.5").torch)
    assert ngc is not None
    assert ngc.vendor == "NVIDIA"
    assert isinstance(describe(facts(), torch="none").torch, Absent)
    unheard = known(describe(facts(), torch="9.9.0").torch)
    assert unheard is not None
    assert isinstance(unheard.cuda, Unknown)


def test_what_was_not_said_is_unknown() -> None:
    environment = describe(facts())
    assert all(isinstance(part, Unknown) for part in environment.parts().values())
    half = describe(facts(), python_version="3.13t", glibc="2.35")
    python, host = known(half.python), known(half.host)
    assert python is not None
    assert host is not None
    assert (python.abi, python.platform, host.machine) == ("cp313t", "linux", "")


@pytest.mark.parametrize(
    "words",
    [
        {"driver": "new"},
        {"torch": "latest"},
        {"python_version": "2.7"},
        {"python_version": "three"},
        {"glibc": "musl"},
        {"machine": "sparc"},
        {"gpu": "H100x0"},
    ],
)
def test_words_that_cannot_be_understood(words: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        describe(facts(), **words)
