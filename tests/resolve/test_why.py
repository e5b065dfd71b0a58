"""`--why`: the sentence for the chosen wheel, a runner-up, a refused one, a stranger."""

from __future__ import annotations

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.model import Goal
from flash_doctor.model.plan import Plan
from flash_doctor.resolve import resolve
from flash_doctor.resolve.constraints import take_seat
from flash_doctor.resolve.goal import read_goal
from flash_doctor.resolve.rank import rank, why
from seats import described, facts, wheels

ENVIRONMENT = described(
    {"gpu": "H100", "python_version": "3.12", "glibc": "2.35", "machine": "x86_64", "torch": "2.8.0+cu128"}
)
ANSWER = resolve(Goal(), ENVIRONMENT, wheels(), facts())
SEAT = take_seat(ENVIRONMENT, facts(), read_goal(Goal())).seat


def told(name: str) -> str:
    return " ".join(why(ANSWER, name, wheels(), SEAT))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("flash_attn-2.8.3.post1+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl", "this is the one"),
        ("flash_attn-2.8.3.post1+cu12torch2.8cxx11abiFALSE-cp312-cp312-linux_x86_64.whl", "its name tells the truth"),
        ("flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl", "it is the newer flash-attn"),
        ("flash_attn-2.8.3+cu126torch2.8-cp312-cp312-linux_x86_64.whl", "its CUDA build is nearer"),
        ("flash_attn-2.8.3+cu12torch2.7cxx11abiTRUE-cp312-cp312-linux_x86_64.whl", "torch release: made for torch 2.7"),
        ("https://a/b/flash_attn-2.8.3%2Bcu12torch2.7cxx11abiTRUE-cp312-cp312-linux_x86_64.whl", "torch release"),
        ("flash_attn_3-3.0.0-cp39-abi3-manylinux_2_28_x86_64.whl", "another product"),
    ],
)
def test_why(name: str, sentence: str) -> None:
    assert sentence in told(name)


def test_a_stranger_gets_the_most_similar_names() -> None:
    with pytest.raises(BadInput, match="no publisher") as caught:
        told("flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86-64.whl")
    assert "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl" in caught.value.advice


def test_candidates_are_in_the_order_of_the_sort_key() -> None:
    assert isinstance(ANSWER, Plan)
    assert ANSWER.wheel is not None
    every = (ANSWER.wheel, *ANSWER.candidates)
    assert rank(reversed(every), SEAT) == every
