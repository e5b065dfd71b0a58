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

from flash_doctor.model import Absent
from flash_doctor.preflight import derive
from flash_doctor.preflight.config import Dialect

if TYPE_CHECKING:
    from flash_doctor.facts.preflight import Conditions
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.deepspeed import ZeroPlan
    from flash_doctor.preflight.inputs import Model


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
class TrainingState:
    """What training adds to each parameter: bytes whole on each GPU, bytes divided over them, and these in words."""

    whole: float
    divided: float
    how: str


def training(run: Run, model: Model, plan: ZeroPlan | None, state: float) -> TrainingState:
    """A full fine-tune, with an optimiser that has `state` bytes for each parameter in 32 bit."""
    if plan is not None:
        return _zero(plan, state)
    if derive.sharded(run):
        return _fsdp(run, state)
    size = weight(run, model).bytes
    states = state * size / FULL if state > 3 else state  # they follow the weights; 8-bit ones are what they are
    copy = HALF if size == FULL and (run.on("bf16") or run.on("fp16")) else 0.0
    how = f"{size:g} gradient + {states:g} optimiser" + (f" + {copy:g} autocast's copy" if copy else "")
    return TrainingState(whole=size + states + copy, divided=0.0, how=how)


def _zero(plan: ZeroPlan, state: float) -> TrainingState:
    stage = 2 if plan.stage is None else min(max(plan.stage, 0), 3)
    whole, divided = _ZERO[stage]
    if plan.offloads_optimizer:
        kept = whole if stage == 1 else 0.0
        return TrainingState(whole=kept, divided=0.0, how=f"{kept:g}; master copy and optimiser are in the host's RAM")
    if stage == 0:
        return TrainingState(whole=whole + state, divided=0.0, how=f"2 gradient + 4 master copy + {state:g} optimiser")
    how = f"{divided:g} master copy and gradient + {state:g} optimiser, divided"
    return TrainingState(
        whole=whole, divided=divided + state, how=f"{whole:g} gradient, whole; {how}" if whole else how
    )


def _fsdp(run: Run, state: float) -> TrainingState:
    if derive.fsdp_offloads(run):
        return TrainingState(
            whole=0.0, divided=0.0, how="0; FSDP keeps weights, gradients and optimiser in the host's RAM"
        )
    how = f"2 gradient + 4 master copy + {state:g} optimiser, divided"
    return TrainingState(whole=0.0, divided=_FSDP + state, how=how)


GIB = 2**30
_SOMETIMES = ("reference model", "gathered layer")
_FUSED = (
    "cut_cross_entropy",
    "liger_fused_linear_cross_entropy",
    "chunked_cross_entropy",
    "use_liger_kernel",
    "enable_liger_kernel",
)
_EMBEDDED_STATE = 6.0  # bytes: an 8-bit optimiser keeps the embeddings in 32 bit, the output layer in 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One part of a sum: its bytes, and how they come about."""

    name: str
    bytes: float
    how: str

    def __str__(self) -> str:
        return f"{self.name} {self.bytes / GIB:.1f} GiB = {self.how}"


def total(terms: tuple[Term, ...]) -> float:
    return sum(term.bytes for term in terms)


def lora_params(run: Run, model: Model) -> float:
    """Parameters of the adapter: r x (in + out) summed over the layers it is put on."""
    rank = run.number("lora_r") or 8.0
    hidden, inner = model.hidden, model.intermediate
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    sizes = {
        "q_proj": hidden + queries,
        "k_proj": hidden + keys,
        "v_proj": hidden + keys,
        "o_proj": queries + hidden,
        "gate_proj": hidden + inner,
        "up_proj": hidden + inner,
        "down_proj": inner + hidden,
    }
    named = run.words("lora_target_modules")
    chosen = sizes if run.on("lora_target_linear") or not named else {name: sizes.get(name, 0) for name in named}
    return rank * sum(chosen.values()) * model.layers


def saved_params(run: Run, model: Model) -> float:
    """Parameters of lora_modules_to_save: vocabulary x hidden for each embedding layer."""
    layers = [name for name in run.words("lora_modules_to_save") if "embed" in name or "lm_head" in name]
    return float(len(layers) * model.vocab * model.hidden)


def shards(run: Run, plan: ZeroPlan | None, world: int) -> float:
    """Over how many GPUs the weights are divided."""
    divided = plan.stage == 3 if plan is not None else derive.sharded(run) and not derive.fsdp_whole(run)
    return float(max(world, 1)) if divided else 1.0


def vram(run: Run, model: Model, conditions: Conditions, world: int, plan: ZeroPlan | None) -> tuple[Term, ...]:
    """The terms of one GPU's memory at the largest micro batch."""
    weights = _weights(run, model, world, plan)
    terms = (
        weights,
        _reference(run, weights),
        _gathered(run, model, plan),
        _trained(run, model, conditions, world, plan),
        _activations(run, model, conditions),
        _logits(run, model),
        Term(name="fixed", bytes=conditions.limits["vram_fixed_gib"] * GIB, how="CUDA context and buffers"),
    )
    return tuple(term for term in terms if term.bytes or term.name not in _SOMETIMES)


def _embedding_params(model: Model) -> float:
    return float((1 if model.tied else 2) * model.vocab * model.hidden)


def _size(run: Run, model: Model, plan: ZeroPlan | None) -> Held:
    """A weight's bytes; ZeRO and FSDP compute with 16-bit weights and keep the 32-bit ones among the states."""
    full = not derive.is_adapter(run) and (plan is not None or derive.sharded(run))
    return Held(bytes=HALF) if full and not run.on("float32") else weight(run, model)


def _weights(run: Run, model: Model, world: int, plan: ZeroPlan | None) -> Term:
    if (plan is not None and plan.offloads_parameters) or (plan is None and derive.fsdp_offloads(run)):
        return Term(name="weights", bytes=0.0, how="kept in the host's RAM")
    embeddings, found, parts = _embedding_params(model), _size(run, model, plan), shards(run, plan, world)
    size, linear = found.bytes, max(0.0, model.params - embeddings)
    amount = (linear * size + embeddings * max(HALF, size)) / parts
    how = f"{linear / 1e9:.2f}e9 x {size:g} B + embeddings {embeddings / 1e9:.2f}e9 x {max(HALF, size):g} B"
    how += f" ({found.because})" if found.because else ""
    return Term(name="weights", bytes=amount, how=how + (f", over {parts:g} GPUs" if parts > 1 else ""))


def _reference(run: Run, weights: Term) -> Term:
    """The frozen model that preference training compares with."""
    how = f"a frozen copy of the weights for rl: {run.text('rl')}"
    return Term(name="reference model", bytes=weights.bytes * derive.reference(run), how=how)


def _gathered(run: Run, model: Model, plan: ZeroPlan | None) -> Term:
    """The largest layer, whole for the time that it computes (DeepSpeed's estimate: 4 bytes a parameter)."""
    divided = plan.stage == 3 if plan is not None else derive.sharded(run)
    block = max(0.0, model.params - _embedding_params(model)) / max(model.layers, 1)
    largest = max(block, float(model.vocab * model.hidden))
    how = f"{largest / 1e6:.0f}e6 parameters of the largest layer x 4 B"
    return Term(name="gathered layer", bytes=4 * largest * divided * (not derive.is_adapter(run)), how=how)


def _trained(run: Run, model: Model, conditions: Conditions, world: int, plan: ZeroPlan | None) -> Term:
    """Gradients and optimiser states; for an adapter also its own weights, held in 32 bit."""
    state = conditions.state_bytes(run.text("optimizer") or "adamw_torch")
    if derive.is_adapter(run):
        return _adapter(run, model, state)
    parts, each = max(world, 1), training(run, model, plan, state)
    how = f"{model.params / 1e9:.2f}e9 x ({each.how}) B" + (f" / {parts} GPUs" if each.divided else "")
    return Term(name="training", bytes=model.params * (each.whole + each.divided / parts), how=how)


def _adapter(run: Run, model: Model, state: float) -> Term:
    adapter, saved = lora_params(run, model), saved_params(run, model)
    kept = _EMBEDDED_STATE if 0 < state <= 3 else state
    how = f"LoRA {adapter / 1e6:.1f}e6 x (4 weight + 4 gradient + {state:g} optimiser) B"
    if saved:
        how += f" + lora_modules_to_save {saved / 1e9:.2f}e9 x (2 + 2 + {kept:g}) B"
    return Term(name="training", bytes=adapter * (8 + state) + saved * (4 + kept), how=how)


def tokens(run: Run) -> int:
    """Tokens in one micro batch."""
    length = run.count("sequence_len", 512)
    rows = max(run.count("micro_batch_size", 1), 1) * derive.pairs(run)
    return rows * max(length, run.count("trl/max_completion_length", 0))


def _activations(run: Run, model: Model, conditions: Conditions) -> Term:
    batch = tokens(run)
    unit = batch * model.hidden
    if derive.checkpointing(run):
        amount = 2 * model.layers * unit + 34 * unit
        how = f"2 x {model.layers} layers x {batch} tokens x {model.hidden} + 34 x {batch} x {model.hidden} B"
    else:
        amount = 34 * model.layers * unit
        how = f"34 x {model.layers} layers x {batch} tokens x {model.hidden} B (no gradient checkpointing)"
    if derive.attention(run, Absent(), conditions).name == "eager":
        length = run.count("sequence_len", 512)
        squares = 5 * model.heads * length * batch * (1 if derive.checkpointing(run) else model.layers)
        amount, how = amount + squares, f"{how} + eager's squares {squares / GIB:.1f} GiB"
    return Term(name="activations", bytes=float(amount), how=how)


def _logits(run: Run, model: Model) -> Term:
    if run.text("rl") in derive.REWARDED:
        rows, length = run.count("micro_batch_size", 1), run.count("trl/max_completion_length", 256)
        amount = rows * length * model.vocab * 6
        return Term(
            name="logits", bytes=float(amount), how=f"{rows} x {length} completion tokens x {model.vocab} x 6 B"
        )
    fused = next((key for key in _FUSED if run.on(key)), "")
    size, batch = (1, tokens(run)) if fused else (10, tokens(run))
    how = f"{batch} tokens x vocabulary {model.vocab} x {size} B" + (f" ({fused})" if fused else "")
    return Term(name="logits", bytes=float(batch * model.vocab * size), how=how)


def host_ram(
    run: Run, params: int, conditions: Conditions, workers: int, ranks: int, plan: ZeroPlan | None, data: int
) -> tuple[Term, ...]:
    """Host RAM: workers that prepare data, loading the weights, what is offloaded, the data themselves."""
    each = conditions.limits["worker_gb"]
    alone = bool(derive.fsdp_option(run, "cpu_ram_efficient_loading"))
    loads = 1 if alone else ranks
    offloads = plan is not None and plan.offloads
    return (
        Term(name="data workers", bytes=workers * each * 1e9, how=f"{workers} x {each} GB"),
        Term(name="loading", bytes=2.0 * params * loads, how=f"2 B x {params / 1e9:.2f}e9 x {loads} process(es)"),
        Term(name="offload", bytes=12.0 * params * offloads, how=f"12 B x {params / 1e9:.2f}e9 x {int(offloads)}"),
        Term(name="data", bytes=3.0 * data, how="3 x the largest data file"),
    )
