"""Other frameworks' files in axolotl's words; types as pydantic takes them; the schema of an installed axolotl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from flash_doctor.preflight.config import Dialect, in_short
from flash_doctor.preflight.document import Document
from flash_doctor.preflight.formats import dialect, read_run
from flash_doctor.preflight.formats.installed import read_schema
from flash_doctor.preflight.formats.types import accepts, wanted
from preflight_bench import FACTS


def run_of(**value: Any) -> Any:
    return read_run(Document(path=Path("c.yaml"), value=value, lines=dict.fromkeys(value, 1)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"base_model": "x", "datasets": []}, Dialect.AXOLOTL),
        ({"model_name_or_path": "x", "dataset_name": "y"}, Dialect.TRL),
        ({"model_name_or_path": "x", "stage": "sft"}, Dialect.LLAMAFACTORY),
        ({"per_device_train_batch_size": 1}, Dialect.HF),
        ({"provider": "modal", "gpu": "h100"}, None),
        ({"unrelated": 1}, None),
    ],
)
def test_which_framework(value: dict[str, Any], expected: Dialect | None) -> None:
    assert dialect(value) is expected


def test_trl_in_axolotls_words() -> None:
    run = run_of(
        model_name_or_path="x", dataset_name="d.jsonl", use_peft=True, load_in_4bit=True, packing=True,
        lora_target_modules="all-linear", per_device_train_batch_size=3, num_train_epochs=2, optim="adafactor",
        max_length=777,
    )  # fmt: skip
    said = {key: run.get(key) for key in ("base_model", "adapter", "micro_batch_size", "num_epochs", "optimizer")}
    assert said == {
        "base_model": "x",
        "adapter": "qlora",
        "micro_batch_size": 3,
        "num_epochs": 2,
        "optimizer": "adafactor",
    }
    assert (run.count("sequence_len", 0), run.on("sample_packing"), run.on("lora_target_linear")) == (777, True, True)
    assert run.name("micro_batch_size") == "per_device_train_batch_size"
    assert run.where("optimizer") == ("c.yaml:1: optim = adafactor",)


def test_the_defaults_of_transformers() -> None:
    run = run_of(model_name_or_path="x", max_steps=-1)
    assert (run.get("micro_batch_size"), run.get("gradient_accumulation_steps"), run.get("num_epochs")) == (8, 1, 3)
    assert run.get("max_steps") is None


def test_llamafactory_in_axolotls_words() -> None:
    run = run_of(
        model_name_or_path="x", stage="sft", finetuning_type="lora", quantization_bit=4, lora_rank=8, flash_attn="fa2",
        lora_target="q_proj,v_proj", cutoff_len=99,
    )  # fmt: skip
    assert (run.get("adapter"), run.on("load_in_4bit"), run.get("lora_r")) == ("qlora", True, 8)
    assert run.words("lora_target_modules") == ("q_proj", "v_proj")
    assert run.text("attn_implementation") == "flash_attention_2"
    assert run.name("attn_implementation") == "flash_attn"


def test_grpo_keys_of_trl_stand_below_trl() -> None:
    run = run_of(model_name_or_path="x", num_generations=4, use_vllm=True, vllm_mode="server", reward_funcs=["m.f"])
    assert run.get("rl") == "grpo"
    assert (run.get("trl/num_generations"), run.on("trl/use_vllm"), run.words("trl/reward_funcs")) == (
        4,
        True,
        ("m.f",),
    )


ENUMS = {"Colour": ("red", "blue")}


@pytest.mark.parametrize(
    ("written", "taken", "refused"),
    [
        ("int | None", [1, "2", 2.0, None, True], [2.5, "x", [1], "1.5"]),
        ("bool | None", [True, "yes", "off", 1, None], ["full", 2, []]),
        ("str", ["x", ""], [None, 1, False]),
        ("float", [1, "1e-4", 0.5, "inf"], ["x", None]),
        ("Literal['auto'] | bool | None", ["auto", False, None], ["full"]),
        ("list[str] | None", [["a"], [], None], ["a", {"a": 1}, [1]]),
        ("dict[str, Any] | None", [{"a": 1}], [[], "a"]),
        ("Colour | None", ["red"], ["green", 1]),
        ("Annotated[list[float], MinLen(1)] | None", [[1.0, "2"]], ["1"]),
        ("Optional[bool]", [None, True], ["x"]),
        ("SomeModel | None", [{"a": 1}, None], []),
        ("int | list[int] | None", [1, [1, 2]], ["a", ["a"]]),
        ("not a type", [1, "x", None], []),
    ],
)
def test_values_against_types(written: str, taken: list[Any], refused: list[Any]) -> None:
    assert [value for value in taken if not accepts(written, value, ENUMS)] == []
    assert [value for value in refused if accepts(written, value, ENUMS)] == []


def test_a_type_in_words() -> None:
    assert wanted("bool | None") == "true or false"
    assert wanted("int | str | None") == "a whole number or a text"


SOURCE = """
import torch  # never run
from pydantic import BaseModel, Field

class Words(str, Enum):
    one = "one"
    two = "two"

class Base(BaseModel):
    learning_rate: str | float
    type_of_model: str | None = Field(default=None, alias="model_type")

class DeprecatedParameters(BaseModel):
    old_key: int | None = None

class TRLConfig(BaseModel):
    use_vllm: bool = False

CANONICAL_ATTN_IMPLS = frozenset({"eager", "sdpa"})

class AxolotlInputConfig(Base, DeprecatedParameters):
    model_config = {"populate_by_name": True}
    new_key: bool | None = None
    words: Words | None = None
"""


def test_the_schema_of_an_installed_axolotl_is_read_and_not_run(tmp_path: Path) -> None:
    schemas = tmp_path / "axolotl" / "utils" / "schemas"
    schemas.mkdir(parents=True)
    (schemas / "config.py").write_text(SOURCE)
    (schemas / "broken.py").write_text("class :")
    plugin = tmp_path / "axolotl" / "integrations" / "mine"
    plugin.mkdir(parents=True)
    (plugin / "args.py").write_text("class Args(BaseModel):\n    mine_key: int | None = None\n")
    schema = read_schema(tmp_path / "axolotl", Version("99.1"))
    assert schema is not None
    assert dict(schema.top) == {
        "learning_rate": "str | float", "type_of_model": "str | None", "model_type": "str | None",
        "new_key": "bool | None", "words": "Words | None",
    }  # fmt: skip
    assert dict(schema.removed) == {"old_key": "int | None"}
    assert schema.nested["TRLConfig"] == {"use_vllm": "bool"}
    assert schema.plugin_of("mine_key") == "mine"
    assert schema.enums["Words"] == ("one", "two")
    assert set(schema.enums["CANONICAL_ATTN_IMPLS"]) == {"eager", "sdpa"}


def test_another_layout_of_the_source_is_not_guessed_at(tmp_path: Path) -> None:
    assert read_schema(tmp_path, Version("1.0")) is None


def test_between_two_known_releases_the_keys_of_both_count() -> None:
    between, older, newer = (FACTS.axolotl.schema(Version(text)) for text in ("0.18.3", "0.18.0", "0.19.0"))
    assert set(between.top) == set(older.top) | set(newer.top)
    assert between.release == Version("0.18.3")
    assert FACTS.axolotl.schema(Version("0.1")).release == FACTS.axolotl.releases[0]
    assert FACTS.axolotl.schema(Version("7.0")).release == FACTS.axolotl.releases[-1]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("hub_token", "hf_abc", "***"), ("wandb_api_key", "kept", "***"), ("bf16", True, "true"),
        ("base_model", "https://me:pw@host/x", "https://***@host/x"), ("output_dir", None, "(no value)"),
        ("datasets", [{"a": 1}], "(a list of 1)"), ("tokens", ["a"], "['a']"),
    ],
)  # fmt: skip
def test_values_are_shown_short_and_without_secrets(key: str, value: object, expected: str) -> None:
    assert in_short(key, value) == expected
