"""The JSON of a plan: every case of the ward gives a document that its schema accepts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import jsonschema
import pytest

from claimed import decoded
from flash_doctor.errors import NO_PLAN
from flash_doctor.model import Goal
from flash_doctor.model.plan import Axis, Move, NoPlan, Risk
from flash_doctor.render.plan_document import NEAREST, plan_document
from flash_doctor.resolve import resolve
from flash_doctor.system.codec import encode
from seats import described, facts, wheels
from shipped import schema

SCHEMA = schema("plan")
H100 = {"gpu": "H100", "python_version": "3.12", "glibc": "2.39", "machine": "x86_64", "driver": "595.71.05"}
GOALS = [
    ("2.8.0+cu128", Goal()),
    ("2.15.0+cu132", Goal()),
    ("2.15.0+cu132", Goal(allow=("torch",))),
    ("2.15.0+cu132", Goal(allow=("build",))),
    ("2.9.1+cu130", Goal(wanted=("flash-attn-4",))),
    ("none", Goal()),
    ("none", Goal(wanted=("torch", "flash-attn"))),
]


@pytest.mark.parametrize(("torch", "goal"), GOALS)
def test_the_document_is_what_the_schema_says(torch: str, goal: Goal) -> None:
    answer = resolve(goal, described({**H100, "torch": torch}), wheels(), facts())
    document = json.loads(json.dumps(plan_document(answer)))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert (document["exit_code"] == NO_PLAN) == isinstance(answer, NoPlan)
    assert len(document["rejected"]) <= NEAREST
    every = plan_document(answer, every=True)["rejected"]
    assert len(every) == len(answer.rejected)
    assert Counter(one["axis"] for one in every) == {axis: n for axis, n in document["refused"].items() if n}


@pytest.mark.parametrize(("torch", "goal"), GOALS)
def test_an_answer_survives_json(torch: str, goal: Goal) -> None:
    answer = resolve(goal, described({**H100, "torch": torch}), wheels(), facts())
    answer = replace(answer, rejected=answer.rejected[:NEAREST])
    assert decoded(type(answer), json.loads(json.dumps(encode(answer)))) == answer


def test_the_schema_knows_every_word() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["rejection"]["properties"]["axis"]["enum"] == [axis.value for axis in Axis]
    assert definitions["alternative"]["properties"]["move"]["enum"] == [move.value for move in Move]
    assert definitions["alternative"]["properties"]["risk"]["enum"] == [risk.value for risk in Risk]


def test_a_source_build_names_its_settings() -> None:
    words = {**H100, "gpu": "sm_120", "torch": "2.15.0+cu132"}
    document = plan_document(resolve(Goal(allow=("build",)), described(words), wheels(), facts()))
    step, needed = document["steps"]
    assert (step["action"], needed["name"]) == ("build", "einops")
    assert step["settings"]["FLASH_ATTN_CUDA_ARCHS"] == "120"
