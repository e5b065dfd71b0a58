"""Readers of training configurations, of models, of data and of what a training writes."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from flash_doctor.watch.trainer_files import Unreadable
from fuzzing.binaries import safetensors
from fuzzing.mutate import damaged, json_lines, json_value, text_of
from fuzzing.registry import TESTS, facts, file, reader, scratch

CASES = TESTS / "preflight_cases"


def _configs() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(CASES.glob("*/config.y*ml"))]


_YAML = [
    *(
        ":",
        ": ",
        "- ",
        "-\n",
        "\n",
        "  ",
        "\t",
        "#",
        " # c\n",
        "|\n",
        ">-\n",
        "&a ",
        "*a",
        "<<: *a\n",
        "!!python/x ",
        "!x",
        "? ",
        "---\n",
        "...\n",
    ),
    *(
        "%YAML 1.1\n",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "\\x",
        '"\\UFFFFFFFF"',
        "yes",
        "1e-4",
        ".inf",
        "1:30",
        "0o7",
        "2001-01-01",
        "~",
        "=",
        "null",
    ),
]


def _judged(name: str, data: bytes) -> None:
    """From the file to what is printed, on a machine of which nothing is known."""
    from flash_doctor.preflight.collect import Asked, from_facts
    from flash_doctor.preflight.document import Malformed, read_document
    from flash_doctor.preflight.facts_file import Given
    from flash_doctor.preflight.formats import read_run
    from flash_doctor.preflight.judge import malformed, preflight

    own, folder = facts().preflight, scratch()
    document = read_document(file(name, data))
    if isinstance(document, Malformed):
        _shown(malformed(document, own))
        return
    given = folder / "given.json"
    if not given.exists():
        given.write_bytes((CASES / "healthy-01-qlora-sharegpt-fa2" / "facts.json").read_bytes())
    scene = from_facts(read_run(document), Given.read(given), own, Asked(sample=10, current=folder))
    _shown(preflight(scene, own))


def _shown(judgement: Any) -> None:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.text import finding_lines
    from flash_doctor.system.codec import encode

    for finding in judgement.findings:
        list(finding_lines(finding))
        to_json(encode(finding))


reader("config-yaml", _configs, partial(text_of, words=_YAML), slow=True)(partial(_judged, "config.yaml"))


def _values() -> list[Any]:
    from flash_doctor.preflight.document import Malformed, read_document

    found = [read_document(path) for path in sorted(CASES.glob("*/config.y*ml"))]
    return [dict(document.value) for document in found if not isinstance(document, Malformed)]


reader("config-json", _values, json_value, slow=True)(partial(_judged, "config.json"))


def _givens() -> list[Any]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(CASES.glob("*/facts.json"))]


@reader("given", _givens, json_value, slow=True)
def given(data: bytes) -> None:
    from flash_doctor.preflight.collect import Asked, from_facts
    from flash_doctor.preflight.document import Malformed, read_document
    from flash_doctor.preflight.facts_file import Given
    from flash_doctor.preflight.formats import read_run
    from flash_doctor.preflight.judge import preflight

    if not _RUNS:
        for name in ("healthy-01-qlora-sharegpt-fa2", "own-healthy-zero3-full", "healthy-04-grpo"):
            path = next((CASES / name).glob("config.y*ml"))
            document = read_document(path)
            assert not isinstance(document, Malformed)
            _RUNS.append(read_run(document))
    said = Given.read(file("facts.json", data))
    for run in _RUNS[: 1 + len(data) % 3]:
        scene = from_facts(run, said, facts().preflight, Asked(sample=1, current=scratch()))
        _shown(preflight(scene, facts().preflight))


_RUNS: list[Any] = []

_MODELS = [
    {
        "model_type": "llama",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "vocab_size": 128256,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
    },
    {
        "model_type": "qwen3_moe",
        "text_config": {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "vocab_size": 100,
            "num_attention_heads": 4,
            "num_experts": 8,
        },
        "moe_intermediate_size": 128,
        "quantization_config": {"quant_method": "gptq"},
        "sliding_window": 4096,
        "head_dim": 16,
    },
    {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "vocab_size": 9,
        "num_attention_heads": 2,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
    },
]
_TOKENIZERS = [
    {
        "eos_token": "</s>",
        "pad_token": {"content": "<pad>"},
        "added_tokens_decoder": {"1": {"content": "<x>"}},
        "chat_template": "{{x}}",
    },
]


def _modelled(name: str, data: bytes) -> None:
    """A folder of a model in which one file was changed; the memory that its training takes, and what is said."""
    from flash_doctor.preflight.gather.model import read_adapter, read_hub, read_model, read_tokenizer

    folder = scratch() / f"model-{name}"
    if not folder.exists():
        folder.mkdir()
        for other, content in (("config.json", _MODELS[0]), ("tokenizer_config.json", _TOKENIZERS[0])):
            (folder / other).write_text(json.dumps(content), encoding="utf-8")
        (folder / "model.safetensors").write_bytes(safetensors()[0])
        (folder / "tokenizer.json").write_text('["<x>"]', encoding="utf-8")
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}', encoding="utf-8")
    (folder / name).write_bytes(data)
    model = read_model("x", folder)
    read_hub("x", folder, scratch(), {}, scratch())
    read_adapter(folder)
    run = _run()
    tokenizer = read_tokenizer(run, "x", folder)
    _planned(run, model, tokenizer)


def _run() -> Any:
    from flash_doctor.preflight.document import Malformed, read_document
    from flash_doctor.preflight.formats import read_run

    if not _RUN:
        document = read_document(CASES / "healthy-01-qlora-sharegpt-fa2" / "config.yaml")
        assert not isinstance(document, Malformed)
        _RUN.append(read_run(document))
    return _RUN[0]


_RUN: list[Any] = []


def _planned(run: Any, model: Any, tokenizer: Any) -> None:
    """Every rule on a scene with that model."""
    from dataclasses import replace

    from flash_doctor.preflight.collect import Asked, from_facts
    from flash_doctor.preflight.facts_file import Given
    from flash_doctor.preflight.judge import preflight

    if not _SCENES:
        said = Given.read(CASES / "healthy-01-qlora-sharegpt-fa2" / "facts.json")
        _SCENES.append(from_facts(run, said, facts().preflight, Asked(sample=5, current=scratch())))
    _shown(preflight(replace(_SCENES[0], model=model, tokenizer=tokenizer), facts().preflight))


_SCENES: list[Any] = []

reader("model-config", lambda: _MODELS, json_value, slow=True)(partial(_modelled, "config.json"))
reader("tokenizer", lambda: _TOKENIZERS, json_value, slow=True)(partial(_modelled, "tokenizer_config.json"))
reader("weights-index", lambda: [{"weight_map": {"w": "model.safetensors"}}], json_value, slow=True)(
    partial(_modelled, "model.safetensors.index.json")
)
reader("adapter", lambda: [{"base_model_name_or_path": "x", "r": 8}], json_value, slow=True)(
    partial(_modelled, "adapter_config.json")
)
reader("safetensors", safetensors, damaged, slow=True)(partial(_modelled, "model.safetensors"))


def _tensors(random: Any, seeds: list[Any]) -> bytes:
    header = json_value(random, seeds)
    return len(header).to_bytes(8, "little") + header


reader(
    "safetensors-header",
    lambda: [{"w": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]}, "__metadata__": {}}],
    _tensors,
    slow=True,
)(lambda data: _modelled("model.safetensors", data if data[:1] != b"{" else len(data).to_bytes(8, "little") + data))

_ROWS = [
    {"text": "a b c", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
    {"conversations": [{"from": "human", "value": "x"}], "id": 3},
    {"prompt": "x", "chosen": "y", "rejected": "z", "score": 0.5},
]


def _read_rows(name: str, data: bytes) -> None:
    """The rows of a data file, and what the rules make of them."""
    from dataclasses import replace

    from flash_doctor.preflight.gather.rows import RowReader
    from flash_doctor.preflight.inputs import Sample
    from flash_doctor.preflight.judge import preflight

    one = RowReader(10)
    one.read(file(name, data))
    run = _run()
    if not _SCENES:
        _planned(run, *_parts())
    records, faults = tuple(one.records), tuple(one.faults)
    sample = Sample(key="datasets/0", path=name, records=records, faults=faults, missing="", whole=True)
    _shown(preflight(replace(_SCENES[0], samples=(sample,)), facts().preflight))


def _parts() -> tuple[Any, Any]:
    from flash_doctor.model import Unknown

    return Unknown(unknown="x"), Unknown(unknown="x")


def _lines() -> list[Any]:
    return [b"\n".join(json.dumps(row).encode() for row in _ROWS) + b"\n"]


reader("rows-jsonl", _lines, lambda random, _: json_lines(random, _ROWS), slow=True)(partial(_read_rows, "rows.jsonl"))
reader("rows-json", lambda: [_ROWS], json_value, slow=True)(partial(_read_rows, "rows.json"))
reader(
    "rows-csv",
    lambda: ['text,score\n"a, b",1\nc,2\n'],
    partial(text_of, words=[",", '"', "\n", "\r", '""', "\t", "text"]),
    slow=True,
)(partial(_read_rows, "rows.csv"))


@reader("dataset-info", lambda: [{"mine": {"file_name": "x.json"}, "other": {}}], json_value)
def dataset_info(data: bytes) -> None:
    from flash_doctor.preflight.config import Dialect, Run
    from flash_doctor.preflight.gather.data import registered
    from flash_doctor.preflight.inputs import Files

    file("data/dataset_info.json", data)
    raw = {"dataset": "mine, yours", "dataset_dir": "data"}
    run = Run(dialect=Dialect.LLAMAFACTORY, path=scratch() / "c.yaml", settings=raw, raw=raw, lines={})
    registered(run, Files(roots=(scratch(),), listed={}))


@reader(
    "deepspeed",
    lambda: [
        {"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}, "train_micro_batch_size_per_gpu": 2}
    ],
    json_value,
    slow=True,
)
def deepspeed(data: bytes) -> None:
    from dataclasses import replace

    from flash_doctor.preflight.inputs import Files
    from flash_doctor.preflight.judge import preflight

    file("ds.json", data)
    run = _run()
    if not _SCENES:
        _planned(run, *_parts())
    changed = replace(run, settings={**run.settings, "deepspeed": "ds.json"})
    scene = replace(_SCENES[0], run=changed, files=Files(roots=(scratch(),), listed={}))
    _shown(preflight(scene, facts().preflight))


def _watched() -> list[str]:
    names = ("nan.log", "grpo-collapse.log", "healthy.log", "dpo-saturated.log")
    return [(TESTS / "data" / "watch" / name).read_text(encoding="utf-8")[:6000] for name in names]


_METRICS = [
    "{'loss': nan",
    "'loss'",
    ":",
    ",",
    "}",
    "{",
    "'grad_norm'",
    "inf",
    "'epoch'",
    "'learning_rate'",
    "0.0",
    "1e-4",
    "\r",
    "10%|#| 1/10 [",
    "'train_runtime'",
    "\n",
]


@reader("watch-log", _watched, partial(text_of, words=_METRICS), slow=True)
def watch_log(data: bytes) -> None:
    from flash_doctor.watch.records import LogReader

    _followed(LogReader().records(data.splitlines(keepends=True)))


def _followed(records: Any) -> None:
    from flash_doctor.render.text import finding_lines
    from flash_doctor.watch.judge import judge
    from flash_doctor.watch.series import Series

    series = Series()
    for record in records:
        series, found = judge(series, record, facts().watch)
        for finding in found:
            list(finding_lines(finding))


def _states() -> list[Any]:
    state = json.loads((TESTS / "data" / "watch" / "trainer_state.json").read_text(encoding="utf-8"))
    return [{**state, "log_history": state["log_history"][:12]}]


@reader("trainer-state", _states, json_value, allowed=(Unreadable,), slow=True)
def trainer_state(data: bytes) -> None:
    from flash_doctor.watch.trainer_files import read_state

    _followed(read_state(file("trainer_state.json", data)).history)


@reader(
    "metrics-lines", lambda: [b'{"train/loss": 1.5, "_step": 3}\n'], lambda random, _: json_lines(random, _METRIC_ROWS)
)
def metrics_lines(data: bytes) -> None:
    watch_log(data)


_METRIC_ROWS = [
    {"train/loss": 1.5, "_step": 3, "epoch": 0.1},
    {"log": {"loss": 2, "grad_norm": 1.0}, "step": "4/10"},
    {"eval/loss": 1.2},
]
