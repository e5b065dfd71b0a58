"""Hugging Face TrainingArguments, TRL and LLaMA-Factory files in axolotl's words, so that one set of rules serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flash_doctor.preflight.config import Dialect, Run, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flash_doctor.preflight.document import Document

# axolotl's key -> the keys that say the same elsewhere, the first that is there counts
_SAME = {
    "base_model": ("model_name_or_path",),
    "micro_batch_size": ("per_device_train_batch_size",),
    "eval_batch_size": ("per_device_eval_batch_size",),
    "sequence_len": ("max_length", "max_seq_length", "cutoff_len"),
    "sample_packing": ("packing", "neat_packing"),
    "lora_r": ("lora_rank",),
    "lora_target_modules": ("lora_target",),
    "lora_modules_to_save": ("additional_target",),
    "num_epochs": ("num_train_epochs",),
    "optimizer": ("optim",),
    "lr_scheduler": ("lr_scheduler_type",),
    "val_set_size": ("val_size",),
    "dataset_num_proc": ("preprocessing_num_workers",),
}
_FLASH_ATTN = {"fa2": "flash_attention_2", "sdpa": "sdpa", "disabled": "eager"}
_LENGTHS = {Dialect.TRL: 1024, Dialect.LLAMAFACTORY: 2048}  # tokens of a row where nothing is said
_GRPO = {"num_generations", "max_completion_length", "reward_funcs", "reward_weights", "generation_batch_size"}


def to_run(document: Document, dialect: Dialect) -> Run:
    """The run; keys that mean the same everywhere stay as they are."""
    settings: dict[str, Any] = dict(document.value)
    names: dict[str, str] = {}
    for ours, theirs in _SAME.items():
        for key in theirs:
            if key in document.value and ours not in settings:
                settings[ours] = document.value[key]
                names[ours] = key
    for key, value, theirs_ in _derived(document.value, dialect):
        if key not in document.value or settings[key] != value:
            settings[key] = value
            names[key] = theirs_
    return Run(
        dialect=dialect,
        path=document.path,
        settings=settings,
        raw=document.value,
        lines=document.lines,
        names=names,
        duplicates=document.duplicates,
    )


def _derived(value: Mapping[str, Any], dialect: Dialect) -> Iterator[tuple[str, Any, str]]:
    """(axolotl's key, value, key in the file) of what is said in another way."""
    for make in _MAKERS:
        yield from make(value, dialect)


def _batch(value: Mapping[str, Any], dialect: Dialect) -> Iterator[tuple[str, Any, str]]:
    if "per_device_train_batch_size" not in value:
        yield "micro_batch_size", 8, "per_device_train_batch_size"
    if "gradient_accumulation_steps" not in value:
        yield "gradient_accumulation_steps", 1, "gradient_accumulation_steps"
    if "num_train_epochs" not in value:
        yield "num_epochs", 3, "num_train_epochs"
    if dialect in _LENGTHS and not any(key in value for key in _SAME["sequence_len"]):
        yield "sequence_len", _LENGTHS[dialect], "max_length" if dialect is Dialect.TRL else "cutoff_len"
    if number(value.get("max_steps")) == -1:
        yield "max_steps", None, "max_steps"


def _adapter(value: Mapping[str, Any], dialect: Dialect) -> Iterator[tuple[str, Any, str]]:
    if dialect is Dialect.LLAMAFACTORY:
        bits = number(value.get("quantization_bit"))
        if value.get("finetuning_type", "lora") == "lora":
            yield "adapter", "qlora" if bits == 4 else "lora", "finetuning_type"
        if bits in (4, 8):
            yield f"load_in_{bits:.0f}bit", True, "quantization_bit"
    elif value.get("use_peft") is True:
        yield "adapter", "qlora" if value.get("load_in_4bit") is True else "lora", "use_peft"


def _targets(value: Mapping[str, Any], _dialect: Dialect) -> Iterator[tuple[str, Any, str]]:
    for key in ("lora_target_modules", "lora_target"):
        if value.get(key) in ("all-linear", "all", ["all-linear"]):
            yield "lora_target_linear", True, key
            yield "lora_target_modules", None, key
        elif isinstance(value.get(key), str) and key == "lora_target":
            yield "lora_target_modules", [word.strip() for word in value[key].split(",")], key


def _attention(value: Mapping[str, Any], _dialect: Dialect) -> Iterator[tuple[str, Any, str]]:
    chosen = value.get("flash_attn")
    if isinstance(chosen, str) and chosen in _FLASH_ATTN:
        yield "attn_implementation", _FLASH_ATTN[chosen], "flash_attn"


def _services(value: Mapping[str, Any], _dialect: Dialect) -> Iterator[tuple[str, Any, str]]:
    reported = value.get("report_to")
    services = reported if isinstance(reported, list) else [reported]
    if "wandb" in services:
        yield "use_wandb", True, "report_to"


def _data(value: Mapping[str, Any], _dialect: Dialect) -> Iterator[tuple[str, Any, str]]:
    """A data file that is named by a path; LLaMA-Factory's names are looked up in its dataset_info.json."""
    name = next((key for key in ("dataset_name", "dataset_path", "train_file") if value.get(key)), "")
    if name and isinstance(value[name], str):
        yield "datasets", [{"path": value[name]}], name
    if value.get("stage") in ("grpo", "dpo", "kto"):
        yield "rl", value["stage"], "stage"


def _rewards(value: Mapping[str, Any], _dialect: Dialect) -> Iterator[tuple[str, Any, str]]:
    """GRPO's keys stand at the top of a TRL file, below `trl` in axolotl's."""
    if "num_generations" in value or "reward_funcs" in value:
        yield "rl", "grpo", "num_generations" if "num_generations" in value else "reward_funcs"
        moved = {key: value[key] for key in (*_GRPO, *(k for k in value if "vllm" in k)) if key in value}
        yield "trl", moved, "num_generations"


_MAKERS: tuple[Callable[[Mapping[str, Any], Dialect], Iterator[tuple[str, Any, str]]], ...] = (
    _batch, _adapter, _targets, _attention, _services, _data, _rewards,
)  # fmt: skip
