"""What strangers write: files elsewhere, patterns, aliases, tabs, other frameworks' words; no alarm for nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.model import Unknown
from flash_doctor.preflight.collect import Asked, from_facts
from flash_doctor.preflight.config import Dialect, Run
from flash_doctor.preflight.document import Document, Malformed, read_document
from flash_doctor.preflight.facts_file import Given
from flash_doctor.preflight.formats import read_run
from flash_doctor.preflight.gather.data import read_samples
from flash_doctor.preflight.inputs import Files, Sample
from flash_doctor.preflight.judge import preflight
from preflight_bench import FACTS

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.model import Finding

TRL = {"model_name_or_path": "a/b", "output_dir": "out", "per_device_train_batch_size": 8, "report_to": "none"}
GRPO = {**TRL, "reward_funcs": ["accuracy"], "num_generations": 8, "use_vllm": True}
MACHINE: dict[str, Any] = {"packages": {"transformers": "5.14.1", "trl": "1.8.0", "vllm": "0.11.0"}, "net": {}}


def samples(folder: Path, **dataset: object) -> Any:
    value = {"datasets": [dataset]}
    run = Run(dialect=Dialect.AXOLOTL, path=folder / "c.yaml", settings=value, raw=value, lines={})
    return read_samples(run, Files(roots=(folder,), listed={}), 10, 3.6)[0]


@pytest.mark.parametrize(
    "path", ["s3://bucket/d.jsonl", "https://host/d.parquet", "gs://b/data", "hf://datasets/a/b.csv"]
)
def test_data_behind_a_url_are_not_missing(path: str, tmp_path: Path) -> None:
    found = samples(tmp_path, path=path)
    assert isinstance(found, Unknown)
    assert "is elsewhere; its rows" in found.unknown


@pytest.mark.parametrize(
    ("dataset", "read"),
    [
        ({"path": "json", "data_files": "data/*.jsonl"}, ["1.jsonl", "2.jsonl"]),
        ({"path": "json", "data_files": {"train": ["data/1.jsonl"]}}, ["1.jsonl"]),
        ({"path": "data", "data_files": ["1.jsonl"]}, ["1.jsonl"]),
        ({"path": "./data", "data_files": "[12].jsonl"}, ["1.jsonl", "2.jsonl"]),
    ],
)
def test_data_files_are_found_as_datasets_finds_them(dataset: dict[str, Any], read: list[str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("1.jsonl", "2.jsonl"):
        (tmp_path / "data" / name).write_text('{"text": "a"}\n')
    found: tuple[Sample, ...] = samples(tmp_path, **dataset)
    assert [sample.path.rpartition("/")[2] for sample in found] == read
    assert [len(sample.records) for sample in found] == [1] * len(read)


def test_a_pattern_that_fits_nothing_is_missing(tmp_path: Path) -> None:
    (sample,) = samples(tmp_path, path="json", data_files="data/*.jsonl")
    assert sample.missing == "it does not exist"


def test_a_key_repeated_below_an_alias_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("x-a: &a {r: 1, r: 2}\nb: *a\nc: *a\nbase_model: a/b\n")
    document = read_document(tmp_path / "c.yaml")
    assert isinstance(document, Document)
    assert [found.key for found in document.duplicates] == ["x-a/r"]


@pytest.mark.parametrize(
    ("text", "word"), [("a: b\t# c\n", "behind a value"), ("a:\tb\n", "behind"), ("a:\n\tb: 1\n", "indentation")]
)
def test_where_a_tab_stands_is_said(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    found = read_document(tmp_path / "c.yaml")
    assert isinstance(found, Malformed)
    assert word in found.why


def findings(folder: Path, value: dict[str, Any], **more: Any) -> dict[str, Finding]:
    (folder / "c.json").write_text(json.dumps(value, indent=1))
    (folder / "facts.json").write_text(json.dumps({**MACHINE, **more}))
    document = read_document(folder / "c.json")
    assert isinstance(document, Document)
    scene = from_facts(read_run(document), Given.read(folder / "facts.json"), FACTS, Asked(gpus=1, current=folder))
    return {finding.code: finding for finding in preflight(scene, FACTS).findings}


@pytest.mark.parametrize("mode", [None, "colocate"])
def test_no_server_is_missed_where_trl_needs_none(mode: str | None, tmp_path: Path) -> None:
    value = {**GRPO, "vllm_mode": mode} if mode else GRPO
    assert "PF-grpo-vllm" not in findings(tmp_path, value, net={"vllm_server": False})


def test_the_server_that_trl_needs_is_started_by_trl(tmp_path: Path) -> None:
    finding = findings(tmp_path, {**GRPO, "vllm_mode": "server"}, net={"vllm_server": False})["PF-grpo-vllm"]
    assert finding.remedy is not None
    assert "trl vllm-serve --model a/b" in " ".join(finding.remedy.commands)


def test_the_evidence_is_what_the_file_says(tmp_path: Path) -> None:
    value = {"model_name_or_path": "a/b", "stage": "sft", "template": "qwen", "flash_attn": "fa2", "output_dir": "o"}
    value |= {"finetuning_type": "lora"}
    finding = findings(tmp_path, {**value, "bf16": True}, env={"HF_HUB_OFFLINE": "1"}, hf={"token": False})[
        "PF-attn-package"
    ]
    assert "c.json:5: flash_attn = fa2" in finding.evidence


def test_two_precisions_at_once(tmp_path: Path) -> None:
    assert "both on" in findings(tmp_path, {**TRL, "bf16": True, "fp16": True})["PF-hf-args"].summary
    assert "PF-hf-args" not in findings(tmp_path, {**TRL, "bf16": True, "fp16": False})


@pytest.mark.parametrize(
    ("value", "length"),
    [(TRL, 1024), ({**TRL, "stage": "sft", "finetuning_type": "lora"}, 2048), ({**TRL, "max_length": 8192}, 8192)],
)
def test_the_length_of_a_row_where_nothing_is_said(value: dict[str, Any], length: int, tmp_path: Path) -> None:
    document = Document(path=tmp_path / "c.yaml", value=value, lines={})
    assert read_run(document).count("sequence_len", 512) == length


def test_what_saves_memory_is_said_in_the_words_of_the_file(tmp_path: Path) -> None:
    card = {"name": "RTX 4090", "cc": "8.9", "vram_gb": 24}
    shape = {
        "params": 1_235_814_400, "hidden_size": 2048, "num_attention_heads": 32, "num_hidden_layers": 16,
        "num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 128_256, "tie_word_embeddings": True,
    }  # fmt: skip
    value = {**TRL, "bf16": True, "per_device_train_batch_size": 2}
    finding = findings(tmp_path, value, gpus=[card], model=shape)["PF-vram"]
    assert finding.remedy is not None
    for word in ("per_device_train_batch_size 1", "use_liger_kernel", "dtype: bfloat16", "use_peft"):
        assert word in finding.remedy.text
    assert any("float32, since no dtype is set" in line for line in finding.evidence)
    assert "PF-vram" not in findings(tmp_path, {**value, "dtype": "bfloat16"}, gpus=[card], model=shape)
    other = {"model_name_or_path": "a/b", "stage": "sft", "finetuning_type": "full", "template": "x", "bf16": True}
    finding = findings(tmp_path, other, gpus=[card], model=shape)["PF-vram"]
    assert finding.remedy is not None
    assert "pure_bf16: true" in finding.remedy.text
    assert "enable_liger_kernel" in finding.remedy.text
