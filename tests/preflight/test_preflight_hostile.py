"""Whatever stands behind a key: a rule answers, it never breaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from flash_doctor.preflight.collect import Asked, from_facts
from flash_doctor.preflight.document import Document, read_document
from flash_doctor.preflight.facts_file import Given
from flash_doctor.preflight.formats import read_run
from flash_doctor.preflight.judge import preflight
from preflight_bench import CASES, FACTS

BASES = ("healthy-01-qlora-sharegpt-fa2", "healthy-04-grpo", "own-healthy-fft-liger-fsdp2", "own-healthy-trl")
ODD: list[Any] = [
    None, True, False, 0, -1, 1e30, "x", "1e-4", "", [], [1], ["a", None], [{}], {}, {"a": 1}, {"role": None}, [[1]],
    "${X}", "no", "nan", "9" * 40, float("inf"), float("nan"), "/", ".", "\x1b[31m",
]  # fmt: skip
KEYS = sorted({*FACTS.axolotl.schema(None).top, *FACTS.hf.trl})
PARTS = ("datasets", "trl", "vllm", "special_tokens", "gradient_checkpointing_kwargs", "fsdp_config")


def settings_of(base: str) -> dict[str, Any]:
    document = read_document(CASES / base / "config.yaml")
    assert isinstance(document, Document)
    value: dict[str, Any] = json.loads(json.dumps(document.value))
    return value


@pytest.mark.parametrize("base", BASES)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_odd_values_never_break_a_rule(base: str, data: st.DataObject) -> None:
    value = settings_of(base)
    for key in data.draw(st.lists(st.sampled_from([*value, *KEYS]), max_size=4)):
        value[key] = data.draw(st.sampled_from(ODD))
    for part in PARTS:
        held = value.get(part)
        inner = held[0] if isinstance(held, list) and held else held
        if isinstance(inner, dict) and inner and data.draw(st.booleans()):
            inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(st.sampled_from(ODD))
    run = read_run(Document(path=CASES / base / "config.yaml", value=value, lines={}))
    said = Given.read(CASES / base / "facts.json")
    judgement = preflight(from_facts(run, said, FACTS, Asked(sample=5, current=CASES / base)), FACTS)
    assert judgement.score.checked <= judgement.score.applicable
