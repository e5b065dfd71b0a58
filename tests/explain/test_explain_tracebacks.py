"""Whole tracebacks in which flash-attn is only passing by: exactly one cause, and the right one."""

from __future__ import annotations

import io

import pytest

from flash_doctor.explain import explain
from flash_doctor.facts import Facts

FACTS = Facts()
HEAD = 'Traceback (most recent call last):\n  File "/home/ada/train.py", line 3, in <module>\n    import flash_attn\n'
INTERFACE = "/home/ada/.venv/lib/python3.12/site-packages/flash_attn/flash_attn_interface.py"
WANTED = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb"


@pytest.mark.parametrize(
    ("text", "family"),
    [
        (
            f'{HEAD}  File "{INTERFACE}", line 15, in <module>\n    import flash_attn_2_cuda as flash_attn_gpu\n'
            f"ImportError: flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so: undefined symbol: {WANTED}\n",
            "undefined-symbol",
        ),
        (
            f'{HEAD}  File "{INTERFACE}", line 90, in _flash_attn_forward\n    out, lse = flash_attn_gpu.fwd(\n'
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of\n",
            "gpu-out-of-memory",
        ),
        (f"{HEAD}ModuleNotFoundError: No module named 'flash_attn'\n", "transformers-attn-impl"),
    ],
)
def test_one_cause(text: str, family: str) -> None:
    assert [item.family for item in explain(io.BytesIO(text.encode()), FACTS).explanations] == [family]


@pytest.mark.parametrize(
    "last", ["KeyError: 'pip memory'", "ValueError: torch missing in batch", "my.OddError: import"]
)
def test_an_exception_that_no_pattern_knows_is_not_guessed_at(last: str) -> None:
    told = explain(io.BytesIO(f"{HEAD}{last}\n".encode()), FACTS)
    assert told.explanations == ()
    assert last in "".join(line.text for line in told.unexplained)
