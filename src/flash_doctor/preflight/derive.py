"""What follows from a configuration: the attention backend, the number type, batches and steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Unknown
from flash_doctor.preflight.config import truth

if TYPE_CHECKING:
    from packaging.version import Version

    from flash_doctor.facts.frameworks import Schema
    from flash_doctor.facts.preflight import Backend, Conditions
    from flash_doctor.model import Capability
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import Totals

ADAPTERS = {"lora", "qlora", "llama-adapter"}
REWARDED = {"grpo", "gdpo"}
PREFERENCE = {"dpo", "ipo", "orpo", "simpo"}
REFERRING = {"dpo", "ipo", "kto"}
_CANONICAL = "CANONICAL_ATTN_IMPLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The backend asked for ("" when none is), the key that says so, and the old flags that are on.

    `packing`: the backend whose packing code axolotl switches on; in releases before attn_implementation became the
    only truth, that is decided by the flags alone.
    """

    name: str
    key: str
    flags: tuple[str, ...]
    packing: str

    def backend(self, conditions: Conditions) -> Backend | None:
        return conditions.backends.get(self.name)


def unified(schema: Schema) -> bool:
    """Whether attn_implementation alone decides in this release (it then knows the canonical names)."""
    return _CANONICAL in schema.enums


def attention(run: Run, schema: Schema | Absent, conditions: Conditions) -> Attention:
    flags = tuple(flag for flag in conditions.legacy_flags if run.on(flag))
    by_flag = conditions.legacy_flags[flags[0]] if flags else ""
    known = isinstance(schema, Absent) or "attn_implementation" in schema.top
    value = run.text("attn_implementation") if known else ""
    name = plain_name(value) or by_flag
    alone = isinstance(schema, Absent) or unified(schema)
    key = "attn_implementation" if value else flags[0] if flags else "attn_implementation"
    return Attention(name=name, key=key, flags=flags, packing=name if alone else by_flag)


def plain_name(value: str) -> str:
    """Without the `@revision` and `:kernel` behind a hub kernel's name."""
    return value.partition("@")[0].partition(":")[0]


def dtype(run: Run, capability: Capability | Absent | None, torch: Version | None, conditions: Conditions) -> str:
    """bf16, fp16 or fp32: what the run computes in. bf16 wins where both are asked for.

    `auto` is axolotl's default; it takes torch's word, which calls emulated bf16 supported from 2.4 on.
    """
    if run.on("bf16") or run.on("bfloat16") or run.get("bf16") == "full":
        return "bf16"
    half = run.on("fp16") or run.on("float16")
    automatic = run.get("bf16") == "auto" or (run.is_axolotl and "bf16" not in run.settings)
    if automatic and not half:
        native = capability is None or isinstance(capability, Absent) or capability.major >= 8
        return "bf16" if native or torch is None or torch >= conditions.versions["bf16_emulated"] else "fp16"
    return "fp16" if half else "fp32"


def reentrant(run: Run) -> bool:
    """Whether gradient checkpointing is re-entrant: as said, else axolotl's default for a plain run."""
    said = truth(run.get("gradient_checkpointing_kwargs/use_reentrant"))
    if said is not None:
        return said
    kwargs = run.get("gradient_checkpointing_kwargs")
    return run.is_axolotl and not kwargs and not run.get("rl") and not run.get("unfrozen_parameters")


def checkpointing(run: Run) -> bool:
    value = run.get("gradient_checkpointing")
    return run.on("gradient_checkpointing") or value in ("offload", "offload_disk", "unsloth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows in a micro batch, micro batches in a step, and processes that share the data."""

    micro: int
    accumulation: int
    ranks: float

    @property
    def effective(self) -> float:
        """Rows in one optimiser step."""
        return self.micro * self.accumulation * self.ranks

    def __str__(self) -> str:
        return f"micro_batch_size {self.micro} x gradient_accumulation_steps {self.accumulation} x {self.ranks:g} GPU"


def batch(run: Run, world: int) -> Batch:
    split = run.count("context_parallel_size", 1) * run.count("tensor_parallel_size", 1)
    micro = run.count("micro_batch_size", 1)
    total = run.number("batch_size")
    accumulation = run.count("gradient_accumulation_steps", 1)
    if total and micro > 0 and run.get("gradient_accumulation_steps") is None:
        accumulation = max(1, int(total // micro))
    return Batch(micro=micro, accumulation=accumulation, ranks=max(world, 1) / max(split, 1))


def steps(run: Run, world: int, totals: Totals | Absent | Unknown) -> tuple[float | None, str]:
    """Optimiser steps of the whole run with the sum in words; None where the rows are not known."""
    limit = run.number("max_steps")
    if limit is not None and limit > 0:
        return limit, f"max_steps {limit:g}"
    if isinstance(totals, (Absent, Unknown)):
        return None, ""
    sizes, epochs = batch(run, world), run.number("num_epochs")
    epochs = 1.0 if epochs is None else epochs
    rows = totals.rows * (1 - held_out(run, totals.rows))
    if run.on("sample_packing"):
        tokens = rows * totals.p50
        row = sizes.effective * run.count("sequence_len", 512)
        return tokens / max(row, 1) * epochs, (
            f"{rows:.0f} rows x {totals.p50:.0f} tokens / ({sizes} x sequence_len {run.count('sequence_len', 512)}) "
            f"x {epochs:g} epochs = {tokens / max(row, 1) * epochs:.1f} steps"
        )
    number = math.ceil(rows * epochs / max(sizes.effective, 1))
    return number, f"{rows:.0f} rows x {epochs:g} epochs / ({sizes}) = {number} steps"


def held_out(run: Run, rows: int) -> float:
    """The share of the rows that val_set_size keeps from training; from 1 on it is a count, and none if too large."""
    value = run.number("val_set_size") or 0.0
    if value >= 1:
        return value / rows if value < rows else 0.0
    return max(value, 0.0)


def is_adapter(run: Run) -> bool:
    return bool(run.get("adapter"))


def sharded(run: Run) -> bool:
    """FSDP by the new key or the old one."""
    return bool(run.get("fsdp_config") or run.get("fsdp"))


def fsdp_option(run: Run, name: str) -> object:
    """An option of fsdp_config with or without its old prefix."""
    options = run.mapping("fsdp_config")
    return options.get(name, options.get(f"fsdp_{name}"))


def fsdp_offloads(run: Run) -> bool:
    """Whether FSDP keeps everything in the host's RAM: by fsdp_config, or the word in the old `fsdp`."""
    words = " ".join(run.words("fsdp")).split()
    return "offload" in words or truth(fsdp_option(run, "offload_params")) is True


def fsdp_whole(run: Run) -> bool:
    """Whether FSDP leaves the weights whole on each GPU and divides only gradients and optimiser."""
    strategy = str(fsdp_option(run, "sharding_strategy") or " ".join(run.words("fsdp"))).lower()
    return "shard_grad_op" in strategy or truth(fsdp_option(run, "reshard_after_forward")) is False


def pairs(run: Run) -> int:
    """Sequences that a row gives: preference training computes the chosen and the rejected answer together."""
    return 2 if run.text("rl") in PREFERENCE else 1


def reference(run: Run) -> bool:
    """Whether a second, frozen copy of the model is held: an adapter is switched off instead."""
    return run.text("rl") in REFERRING and not is_adapter(run) and not run.on("precompute_ref_log_probs")


def fsdp_two(run: Run) -> bool:
    return str(run.get("fsdp_version") or fsdp_option(run, "version") or "") == "2"
