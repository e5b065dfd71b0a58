"""Real logs of installs, builds, tests and short trainings that went well: nothing may be found in them.

Recorded on one machine in November 2026: pip and uv with small packages (wheels and source builds, verbose too), pytest
and unittest, ninja and CMake, CPU training with torch 2.13 (plain, compiled, profiled, two ranks, transformers). The
patterns were corrected by what the training logs and four others showed; the rest was only ever run through them.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from flash_doctor.explain import explain
from flash_doctor.facts import Facts

LOGS = sorted(Path(__file__).with_name("healthy").glob("*.log.gz"))
FACTS = Facts()


def test_there_are_enough() -> None:
    assert len(LOGS) >= 30


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name.removesuffix(".log.gz"))
def test_nothing_is_found(path: Path) -> None:
    told = explain(io.BytesIO(gzip.decompress(path.read_bytes())), FACTS)
    assert [(item.code, item.lines) for item in told.explanations] == []
    assert told.unexplained == ()
    assert told.lines_read > 0
