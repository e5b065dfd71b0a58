"""Which framework a file is for, and the file as a `Run`: one module for each framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.preflight.config import Dialect, Run
from flash_doctor.preflight.formats import hf

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flash_doctor.preflight.document import Document

_AXOLOTL = {
    "base_model", "datasets", "pretraining_dataset", "micro_batch_size", "sequence_len", "adapter", "num_epochs",
    "learning_rate", "gradient_accumulation_steps", "lora_r", "flash_attention", "sample_packing",
}  # fmt: skip
_LLAMAFACTORY = {"stage", "finetuning_type", "template", "cutoff_len"}


def read_run(document: Document) -> Run:
    """The run that a file describes.

    Raises:
        BadInput: it is no training configuration that we know.
    """
    found = dialect(document.value)
    if found is None:
        message = f"{document.path} is no training configuration that this doctor knows"
        evidence = (f"its keys: {', '.join(list(document.value)[:8]) or '(none)'}",)
        advice = "Name an axolotl file, or one for Hugging Face TrainingArguments, TRL or LLaMA-Factory."
        raise BadInput(message, evidence=evidence, advice=advice)
    if found is not Dialect.AXOLOTL:
        return hf.to_run(document, found)
    return Run(
        dialect=found,
        path=document.path,
        settings=document.value,
        raw=document.value,
        lines=document.lines,
        duplicates=document.duplicates,
    )


def dialect(value: Mapping[str, Any]) -> Dialect | None:
    """The framework by its characteristic keys; None for none of them, as for the file of a cloud's launcher."""
    keys = set(value)
    if "provider" in keys and keys & {"project_name", "gpu"}:
        return None
    if "model_name_or_path" in keys and keys & _LLAMAFACTORY:
        return Dialect.LLAMAFACTORY
    if "model_name_or_path" in keys and "base_model" not in keys:
        return Dialect.TRL
    if "per_device_train_batch_size" in keys:
        return Dialect.HF
    if keys & _AXOLOTL:
        return Dialect.AXOLOTL
    return Dialect.HF if keys & {"output_dir", "num_train_epochs", "optim"} else None
