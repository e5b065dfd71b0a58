"""Estimates of disk: one checkpoint, and the most that lies there at once. Bytes, in named terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Part, Unknown
from flash_doctor.preflight import derive, memory
from flash_doctor.preflight.inputs import Disk, Hub, Totals
from flash_doctor.preflight.memory import Term

if TYPE_CHECKING:
    from flash_doctor.facts.preflight import Conditions
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.deepspeed import ZeroPlan
    from flash_doctor.preflight.inputs import Model

ENDLESS = math.inf
_TOKENIZER = 20e6
_PREPARED = 21.0  # bytes a token: int32 ids, int8 mask, int64 labels and positions
_QUANTISED_REPO = 0.6


def size(number: float) -> str:
    """Bytes in the units that disks are sold in."""
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"


def _millions(number: float) -> str:
    return f"{number / 1e9:.2f}e9" if number >= 1e7 else f"{number / 1e6:.2f}e6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saves:
    """How many checkpoints the run writes, how many are kept, and how many lie there at once.

    The oldest is deleted only after the newest is written: one more than are kept.
    """

    written: float
    kept: float

    @property
    def together(self) -> float:
        return min(self.kept, self.written) + (1 if self.written > self.kept else 0)


def saves(run: Run, steps: float | None, conditions: Conditions) -> Saves:
    limit = run.number("save_total_limit")
    default = conditions.limits["checkpoints_kept"] if run.is_axolotl else math.inf
    kept = limit if limit else default
    return Saves(written=_written(run, steps), kept=kept)


def _written(run: Run, steps: float | None) -> float:
    epochs = run.number("num_epochs")
    epochs = 1.0 if epochs is None else epochs
    strategy = run.get("save_strategy")
    if strategy in ("no", False):
        return 0.0
    each = run.number("save_steps")
    if each:
        per_run = steps if steps is not None else math.inf
        return per_run * each if 0 < each < 1 else math.floor(per_run / each) if per_run < math.inf else math.inf
    if run.number("saves_per_epoch"):
        return math.ceil((run.number("saves_per_epoch") or 0) * epochs)
    if run.is_axolotl or strategy == "epoch":
        return math.ceil(epochs)
    return math.floor(steps / 500) if steps is not None else math.inf


def checkpoint(run: Run, model: Model, conditions: Conditions, plan: ZeroPlan | None) -> tuple[Term, ...]:
    """One checkpoint: weights, optimiser, tokenizer."""
    weights, optimizer = _adapter(run, model, conditions) if derive.is_adapter(run) else _full(
        run, model, conditions, plan
    )  # fmt: skip
    if run.on("save_only_model"):
        optimizer = Term(name="optimiser", bytes=0.0, how="save_only_model")
    return weights, optimizer, Term(name="tokenizer", bytes=_TOKENIZER, how="about 20 MB")


def _adapter(run: Run, model: Model, conditions: Conditions) -> tuple[Term, Term]:
    lora, saved = memory.lora_params(run, model), memory.saved_params(run, model)
    state = conditions.state_bytes(run.text("optimizer") or "adamw_torch")
    kept = 6.0 if 0 < state <= 3 else state / 2
    weights = f"4 B x {lora / 1e6:.1f}e6" + (f" + 2 B x {saved / 1e9:.2f}e9" if saved else "")
    states = f"{state:g} B x {lora / 1e6:.1f}e6" + (f" + {kept:g} B x {saved / 1e9:.2f}e9" if saved else "")
    return (
        Term(name="adapter", bytes=4 * lora + 2 * saved, how=weights),
        Term(name="optimiser", bytes=state * lora + kept * saved, how=states),
    )


def _full(run: Run, model: Model, conditions: Conditions, plan: ZeroPlan | None) -> tuple[Term, Term]:
    state = conditions.state_bytes(run.text("optimizer") or "adamw_torch")
    divided = plan is not None or derive.sharded(run)
    size = (memory.FULL if run.on("float32") else memory.HALF) if divided else memory.weight(run, model).bytes
    if plan is not None and plan.stage:
        each = state + 4.0
    elif derive.sharded(run):
        each = state
    else:
        each = state if state <= 3 or size > 2 else state / 2
    count = _millions(model.params)
    return (
        Term(name="weights", bytes=size * model.params, how=f"{size:g} B x {count}"),
        Term(name="optimiser", bytes=each * model.params, how=f"{each:g} B x {count}"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What of the surroundings decides the peak."""

    disk: Disk
    hub: Part[Hub]
    totals: Part[Totals]
    steps: float | None
    merges: bool


def peak(
    run: Run, model: Model, conditions: Conditions, plan: ZeroPlan | None, around: Surroundings
) -> tuple[Term, ...]:
    """The most that the run puts on the file system of output_dir at one time."""
    parts = checkpoint(run, model, conditions, plan)
    one = memory.total(parts)
    kept = saves(run, around.steps, conditions)
    number = kept.together
    how = f"{number:g} x {size(one)} ({', '.join(f'{term.name} {term.how}' for term in parts)})"
    terms = [
        Term(name="checkpoints", bytes=number * one, how=how),
        Term(name="final model", bytes=parts[0].bytes, how="the weights once more"),
    ]
    if around.merges or run.on("merge_lora"):
        merged = 2.0 * model.params
        terms.append(Term(name="merged model", bytes=merged, how=f"2 B x {model.params / 1e9:.2f}e9"))
    if not isinstance(around.totals, (Absent, Unknown)) and run.is_axolotl and not run.on("skip_prepare_dataset"):
        count = around.totals.rows * around.totals.p50
        terms.append(Term(name="prepared data", bytes=count * _PREPARED, how=f"{count:.3g} tokens x 21 B"))
    terms += _download(model, around)
    return tuple(terms)


def _download(model: Model, around: Surroundings) -> list[Term]:
    """The weights, where they are still to be fetched onto the same file system."""
    hub = around.hub
    if isinstance(hub, (Absent, Unknown)) or hub.model_cached is not False or not around.disk.shares_hub:
        return []
    size = _QUANTISED_REPO if model.quant_method == "bitsandbytes" else 2.0
    return [Term(name="download", bytes=size * model.params, how=f"{size:g} B x {model.params / 1e9:.2f}e9")]
