"""What the framework's own validation would refuse, one at a time and after seconds of imports; here all at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.facts.frameworks import Schema
from flash_doctor.facts.preflight import PreflightFacts
from flash_doctor.model import Absent
from flash_doctor.preflight.config import Dialect, Run
from flash_doctor.preflight.formats.types import accepts, wanted
from flash_doctor.preflight.registry import AXOLOTL, KeyFound, rule
from flash_doctor.rules.explains import BATCH_SIZE

if TYPE_CHECKING:
    from flash_doctor.facts.preflight import Conditions

_NEAR = 0.88
_EXPONENT = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+")
_FLOATS = {
    "learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "warmup_ratio",
    "num_train_epochs", "label_smoothing_factor", "beta", "temperature", "lora_dropout",
}  # fmt: skip


@rule("PF-axolotl-rejects", dialects=AXOLOTL)
def rejected(run: Run, schema: Schema, axolotl: Version | Absent, facts: PreflightFacts) -> Iterator[KeyFound]:
    yield from _types(run, schema)
    yield from _removed(run, schema, facts.conditions)
    yield from _pairs(run, facts.conditions)
    yield from _combinations(run)
    release = schema.release if isinstance(axolotl, Absent) else axolotl
    yield from _missing(run)
    if release < facts.conditions.versions["one_size_enough"]:
        yield from _sizes_missing(run)


def _types(run: Run, schema: Schema) -> Iterator[KeyFound]:
    for key, value in run.settings.items():
        written = schema.type_of(key)
        if written and not accepts(written, value, schema.enums) and not _sizes(key, value):
            yield KeyFound(
                key=key,
                summary=f"axolotl {schema.release} refuses this value of {key}",
                evidence=(f"its type is {written}",),
                remedy=f"{key} must be {wanted(written)}.",
            )


def _sizes(key: str, value: object) -> bool:
    """torch_dtype words and the like that a validator translates before the type is looked at."""
    return key == "optimizer" and isinstance(value, str)


def _removed(run: Run, schema: Schema, conditions: Conditions) -> Iterator[KeyFound]:
    for key, gone in conditions.removed.items():
        there = run.get(key) is not None if gone.when == "set" else bool(run.get(key))
        if there and key in schema.removed:
            yield KeyFound(key=key, summary=f"{key} was removed from axolotl", remedy=f"{key}: {gone.instead}.")
    if run.off("save_safetensors"):
        yield KeyFound(
            key="save_safetensors",
            summary="save_safetensors: false is no longer accepted",
            remedy="Delete save_safetensors: checkpoints are always safetensors.",
        )


def _pairs(run: Run, conditions: Conditions) -> Iterator[KeyFound]:
    for pair in conditions.exclusive:
        if run.get(pair.first) and run.get(pair.second):
            yield KeyFound(
                key=pair.first,
                summary=f"{pair.first} and {pair.second} exclude each other",
                evidence=run.where(pair.second),
                remedy=f"{pair.instead[0].upper()}{pair.instead[1:]}.",
            )


def _combinations(run: Run) -> Iterator[KeyFound]:
    if run.number("val_set_size") == 0 and run.get("eval_steps") and not run.get("test_datasets"):
        yield KeyFound(
            key="eval_steps",
            summary="eval_steps is set, but val_set_size is 0",
            remedy="Delete eval_steps, or set val_set_size above 0.",
        )
    endless = run.on("streaming") or bool(run.get("pretraining_dataset"))
    if endless and not run.get("max_steps"):
        key = "pretraining_dataset" if run.get("pretraining_dataset") else "streaming"
        yield KeyFound(
            key=key,
            summary="data without an end need max_steps",
            remedy="Set max_steps: the steps you want to pay for.",
        )
    if run.get("save_strategy") == "best" and not run.get("metric_for_best_model"):
        yield KeyFound(
            key="save_strategy",
            summary="save_strategy: best needs metric_for_best_model",
            remedy="metric_for_best_model: eval_loss",
        )
    if run.get("early_stopping_patience") and not (run.get("save_steps") and run.get("eval_steps")):
        yield KeyFound(
            key="early_stopping_patience",
            summary="early_stopping_patience needs save_steps and eval_steps",
            remedy="Set both, save_steps a multiple of eval_steps.",
        )


def _missing(run: Run) -> Iterator[KeyFound]:
    for key in ("base_model", "learning_rate"):
        if run.get(key) is None:
            yield KeyFound(key=key, summary=f"{key} is missing", remedy=f"Add {key}.")
    if not run.get("datasets") and not run.get("pretraining_dataset"):
        yield KeyFound(
            key="datasets", summary="neither datasets nor pretraining_dataset is set", remedy="Add datasets."
        )


def _sizes_missing(run: Run) -> Iterator[KeyFound]:
    sizes = [key for key in ("micro_batch_size", "gradient_accumulation_steps", "batch_size") if run.get(key)]
    if len(sizes) < 2:
        yield KeyFound(
            key="micro_batch_size",
            summary="two of micro_batch_size, gradient_accumulation_steps and batch_size must be set",
            evidence=(f"set: {', '.join(sizes) or 'none'}",),
            remedy="Set micro_batch_size and gradient_accumulation_steps.",
            about=(BATCH_SIZE,),
        )


@rule("PF-hf-args", dialects=frozenset({Dialect.HF, Dialect.TRL, Dialect.LLAMAFACTORY}))
def hf_arguments(run: Run, transformers: Version, facts: PreflightFacts) -> Iterator[KeyFound]:
    release, known = facts.hf.known_to(transformers)
    every_key = frozenset().union(facts.hf.trl, *facts.hf.arguments.values())
    for key in run.raw:
        releases = facts.hf.releases_with(key)
        if key not in every_key and run.dialect is not Dialect.LLAMAFACTORY:
            yield from _misspelt(key, every_key)
        gone = key not in known and (bool(releases) or key == "evaluation_strategy")
        if gone:
            yield KeyFound(
                key=key,
                summary=f"transformers {transformers} has no argument {key}",
                evidence=(f"read in the source of transformers {release}",),
                remedy="eval_strategy says the same." if key == "evaluation_strategy" else f"Delete {key}.",
            )
    if run.dialect is not Dialect.LLAMAFACTORY:
        yield from _numbers_as_texts(run)
    if run.on("bf16") and run.on("fp16"):
        yield KeyFound(
            key="fp16",
            summary="bf16 and fp16 are both on: transformers refuses that",
            evidence=run.where("bf16"),
            remedy="fp16: false",
        )
    every, each = run.number("save_steps"), run.number("eval_steps")
    if run.on("load_best_model_at_end") and every and each and every % each:
        yield KeyFound(
            key="load_best_model_at_end",
            summary=f"save_steps {every:g} is no multiple of eval_steps {each:g}: the best model may not be saved",
            remedy=f"save_steps: {each:g}",
        )


def _misspelt(key: str, known: frozenset[str]) -> Iterator[KeyFound]:
    """Keys of the user's own script are not ours to judge, but one letter off is a slip."""
    near = get_close_matches(key, sorted(known), n=1, cutoff=_NEAR)
    if near and key != "evaluation_strategy":
        yield KeyFound(key=key, summary=f"there is no argument {key}", remedy=f"Rename {key} to {near[0]}.")


def _numbers_as_texts(run: Run) -> Iterator[KeyFound]:
    for key, value in run.raw.items():
        if key in _FLOATS and isinstance(value, str) and _EXPONENT.fullmatch(value):
            mantissa, _, exponent = value.lower().partition("e")
            yield KeyFound(
                key=key,
                summary=f"{value} is a text, not a number: in YAML 1.1 a number with an exponent needs a point",
                remedy=f"{key}: {mantissa}.0e{exponent}",
            )
