"""How many bytes a parameter takes on a GPU: its weight as it is loaded, and what training adds to it.

The sources of the numbers:
  https://huggingface.co/docs/transformers/model_memory_anatomy (mixed precision: 4 + 2 weight, 4 gradient, 8 AdamW)
  https://arxiv.org/abs/1910.02054 (ZeRO over n GPUs: stage 1 4 + 12/n, stage 2 2 + 14/n, stage 3 16/n bytes)
  https://deepspeed.readthedocs.io/en/stable/memory.html (stage 3 18/n and the largest layer; stage 2 at most 4 + 16/n)
  https://github.com/hiyouga/LLaMA-Factory (README: 18 bytes in bf16, 8 in pure_bf16; model/adapter.py upcasts)
  https://github.com/huggingface/trl (trainer/utils.py, create_model_from_path: dtype is float32 unless said)
  https://arxiv.org/abs/2305.14314 (NF4: 64 weights share a scale of 32 bits, or of 8 where these are quantised too)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.preflight import derive
from flash_doctor.preflight.run import Dialect

if TYPE_CHECKING:
    from flash_doctor.preflight.deepspeed import ZeroPlan
    from flash_doctor.preflight.run import Run
    from flash_doctor.preflight.scene import Model

HALF, FULL = 2.0, 4.0
_NF4, _NF4_NESTED, _INT8 = 0.5 + 4 / 64, 0.516, 1.0
_SIZES = {"bfloat16": HALF, "float16": HALF, "float32": FULL}
_SAID = ("dtype", "torch_dtype", "model_init_kwargs/dtype", "model_init_kwargs/torch_dtype")
# stage: bytes of a parameter whole on each GPU, and divided over them; its 16-bit weight and the states not among them
_ZERO = {0: (6.0, 0.0), 1: (2.0, 4.0), 2: (0.0, 8.0), 3: (0.0, 8.0)}
_FSDP = 6.0  # 2 gradient, 4 master copy: with the 16-bit weight and AdamW 16 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes of a weight as it is loaded; why, and what would halve it, where it is more than it need be."""

    bytes: float
    because: str = ""
    instead: str = ""


def weight(run: Run, model: Model) -> Held:
    """A linear weight on one GPU, before anything is divided."""
    if run.get("adapter") == "qlora" and run.on("load_in_4bit"):
        return Held(bytes=_NF4_NESTED if _nested(run) else _NF4)
    if run.get("adapter") and run.on("load_in_8bit"):
        return Held(bytes=_INT8)
    return _LOADED[run.dialect](run, model)


def _nested(run: Run) -> bool:
    """Whether the scales are quantised too: TRL does it only when told, the others unless told not to."""
    if run.dialect is Dialect.TRL:
        return run.on("use_bnb_nested_quant")
    return not run.off("bnb_4bit_use_double_quant") and not run.off("double_quantization")


def _axolotl(run: Run, _model: Model) -> Held:
    none = run.off("bf16") and not any(run.on(key) for key in ("bfloat16", "fp16", "float16", "load_in_8bit"))
    return Held(bytes=FULL, because="float32") if run.on("float32") or none else Held(bytes=HALF)


def _llamafactory(run: Run, _model: Model) -> Held:
    if derive.is_adapter(run) or run.on("pure_bf16"):
        return Held(bytes=HALF)
    return Held(bytes=FULL, because="float32, since pure_bf16 is not set", instead="pure_bf16: true")


def _trl(run: Run, model: Model) -> Held:
    said = next((text for key in _SAID if (text := run.text(key))), "")
    if said == "auto":
        return Held(bytes=_SIZES.get(model.dtype, HALF), because="as the checkpoint")
    if _SIZES.get(said) == HALF:
        return Held(bytes=HALF)
    because = "float32" if said else "float32, since no dtype is set"
    return Held(bytes=FULL, because=because, instead="dtype: bfloat16")


def _script(_run: Run, model: Model) -> Held:
    """Arguments of a script that loads the model in its own way: as the checkpoint is, at least."""
    return Held(bytes=_SIZES.get(model.dtype, HALF))


_LOADED = {
    Dialect.AXOLOTL: _axolotl,
    Dialect.LLAMAFACTORY: _llamafactory,
    Dialect.TRL: _trl,
    Dialect.HF: _script,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What training adds to each parameter: bytes whole on each GPU, bytes divided over them, and these in words."""

    whole: float
    divided: float
    how: str


def training(run: Run, model: Model, plan: ZeroPlan | None, state: float) -> Trained:
    """A full fine-tune, with an optimiser that has `state` bytes for each parameter in 32 bit."""
    if plan is not None:
        return _zero(plan, state)
    if derive.sharded(run):
        return _fsdp(run, state)
    size = weight(run, model).bytes
    states = state * size / FULL if state > 3 else state  # they follow the weights; 8-bit ones are what they are
    copy = HALF if size == FULL and (run.on("bf16") or run.on("fp16")) else 0.0
    how = f"{size:g} gradient + {states:g} optimiser" + (f" + {copy:g} autocast's copy" if copy else "")
    return Trained(whole=size + states + copy, divided=0.0, how=how)


def _zero(plan: ZeroPlan, state: float) -> Trained:
    stage = 2 if plan.stage is None else min(max(plan.stage, 0), 3)
    whole, divided = _ZERO[stage]
    if plan.offloads_optimizer:
        kept = whole if stage == 1 else 0.0
        return Trained(whole=kept, divided=0.0, how=f"{kept:g}; master copy and optimiser are in the host's RAM")
    if stage == 0:
        return Trained(whole=whole + state, divided=0.0, how=f"2 gradient + 4 master copy + {state:g} optimiser")
    how = f"{divided:g} master copy and gradient + {state:g} optimiser, divided"
    return Trained(whole=whole, divided=divided + state, how=f"{whole:g} gradient, whole; {how}" if whole else how)


def _fsdp(run: Run, state: float) -> Trained:
    if derive.fsdp_offloads(run):
        return Trained(whole=0.0, divided=0.0, how="0; FSDP keeps weights, gradients and optimiser in the host's RAM")
    how = f"2 gradient + 4 master copy + {state:g} optimiser, divided"
    return Trained(whole=0.0, divided=_FSDP + state, how=how)
