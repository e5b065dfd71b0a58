"""The training loop: optimiser, schedule, steps, evaluation, gradient checkpointing."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Part, Severity, Unknown
from flash_doctor.preflight import derive
from flash_doctor.preflight.config import Run, truth
from flash_doctor.preflight.registry import Found, need, rule
from flash_doctor.system.commands import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts.frameworks import Schema
    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.preflight.inputs import Distributions, Model, Totals

_EVALUATES = ("eval_steps", "evals_per_epoch", "eval_strategy", "do_bench_eval", "do_causal_lm_eval")


@rule("PF-optimizer")
def optimizer(run: Run, schema: Schema | Absent, stack: Part[Distributions], facts: PreflightFacts) -> Iterator[Found]:
    name = run.text("optimizer")
    if not name:
        return
    own = () if isinstance(schema, Absent) else schema.enums.get("CustomSupportedOptimizers", ())
    known = facts.conditions.optimizers | set(own)
    if name not in known:
        near = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
        yield Found(
            key="optimizer",
            summary=f"there is no optimiser called {name}",
            remedy=f"optimizer: {near[0]}" if near else "optimizer: adamw_torch_fused",
        )
        return
    package = facts.conditions.optimizer_package(name)
    if package and not need(stack).get(package):
        yield Found(
            key="optimizer",
            summary=f"{name} needs the package {package}, which is not installed",
            remedy=f"Install {package}, or optimizer: adamw_torch_fused.",
            commands=(command("pip install -U {}", package),),
        )


@rule("PF-optimizer-fsdp")
def optimizer_and_sharding(run: Run, facts: PreflightFacts) -> Iterator[Found]:
    name = run.text("optimizer")
    eight = "8bit" in name and facts.conditions.optimizer_package(name) == "bitsandbytes"
    one = derive.sharded(run) and not derive.fsdp_two(run)
    why = ""
    if eight and derive.sharded(run) and derive.fsdp_two(run):
        why = "bitsandbytes' 8-bit optimisers do not work with FSDP2"
    elif eight and one and truth(derive.fsdp_option(run, "offload_params")):
        why = "bitsandbytes' 8-bit optimisers do not work with FSDP that offloads parameters"
    elif eight and run.count("tensor_parallel_size", 1) > 1:
        why = "bitsandbytes' 8-bit optimisers do not work with tensor parallelism"
    elif name.startswith(("muon", "flash_", "q_galore")) and (run.get("deepspeed") or one):
        why = f"{name} works neither with DeepSpeed nor with FSDP1"
    if why:
        yield Found(key="optimizer", summary=why)


@rule("PF-schedule")
def schedule(run: Run, totals: Part[Totals], world: int, facts: PreflightFacts) -> Iterator[Found]:
    warmup = run.number("warmup_steps")
    number, how = derive.steps(run, world, totals)
    if warmup and number is not None and number > 0 and warmup >= number:
        yield Found(
            key="warmup_steps",
            summary=f"the warm-up of {warmup:g} steps is as long as the run of {number:.0f}",
            evidence=(how,),
            remedy=f"warmup_steps: {max(1, int(number // 10))}",
        )
    yield from _rate(run, facts)
    rank, alpha = run.number("lora_r"), run.number("lora_alpha")
    limits = facts.conditions.limits
    if run.get("adapter") and rank and alpha and not limits["alpha_low"] <= alpha / rank <= limits["alpha_high"]:
        yield Found(
            key="lora_alpha",
            severity=Severity.INFO,
            summary=f"lora_alpha / lora_r = {alpha / rank:g}: the adapter's weight is unusual",
            remedy="lora_alpha of one to two times lora_r is usual.",
        )


def _rate(run: Run, facts: PreflightFacts) -> Iterator[Found]:
    rate, limits = run.number("learning_rate"), facts.conditions.limits
    other_scale = run.get("pretraining_dataset") or "muon" in run.text("optimizer")
    if rate is None or other_scale:
        return
    kind = "adapter" if run.get("adapter") else "full"
    low = limits["reward_rate_low"] if run.get("rl") else limits[f"{kind}_rate_low"]
    high = limits[f"{kind}_rate_high"]
    if not low <= rate <= high:
        what = "an adapter" if run.get("adapter") else "a full fine-tune"
        yield Found(
            key="learning_rate",
            summary=f"a learning rate of {rate:g} is outside {low:g} to {high:g}, what {what} bears",
            remedy=f"learning_rate: {'2.0e-4' if run.get('adapter') else '2.0e-5'}",
        )


@rule("PF-steps")
def steps(run: Run, totals: Part[Totals], world: int, facts: PreflightFacts) -> Iterator[Found]:
    for key in ("num_epochs", "max_steps"):
        if run.number(key) == 0:
            yield Found(
                key=key, summary=f"{key}: 0 trains nothing and ends without an error", remedy=f"{key}: 1 or more"
            )
            return
    if run.count("micro_batch_size", 1) < 1:
        yield Found(key="micro_batch_size", summary="micro_batch_size must be at least 1", remedy="micro_batch_size: 1")
        return
    number, how = derive.steps(run, world, totals)
    if isinstance(totals, (Absent, Unknown)) or number is None or run.get("max_steps"):
        return
    # with too few rows the data, not the batch, are to be changed: PF-data-too-few says so
    limits = facts.conditions.limits
    if number < limits["steps_few"] and totals.rows >= limits["rows_few"]:
        sizes = derive.batch(run, world)
        less = max(1, int(sizes.accumulation * number / (2 * limits["steps_few"])))
        yield Found(
            key="gradient_accumulation_steps",
            severity=Severity.WARNING,
            summary=f"the whole run makes about {number:.0f} optimiser steps",
            evidence=(how,),
            remedy=f"gradient_accumulation_steps: {less}, or more epochs.",
        )


@rule("PF-eval-never-runs")
def evaluation(run: Run, totals: Part[Totals], facts: PreflightFacts) -> Iterator[Found]:
    share = run.number("val_set_size") or 0.0
    if share <= 0 and not run.get("test_datasets"):
        return
    key = "val_set_size" if share > 0 else "test_datasets"
    if not any(run.get(name) not in (None, False, 0, "no") for name in _EVALUATES):
        yield Found(
            key=key,
            summary="rows are held out, but nothing says when to evaluate: they are lost, and no eval_loss appears",
        )
        return
    if isinstance(totals, (Absent, Unknown)) or share <= 0:
        return
    if share >= 1 and share >= totals.rows:
        yield Found(key=key, summary=f"val_set_size {share:g} is not smaller than the {totals.rows} rows there are")
        return
    held = totals.rows * derive.held_out(run, totals.rows) * totals.p50
    row = run.count("sequence_len", 512) * run.count("micro_batch_size", 1)
    packed = run.on("sample_packing") and not run.off("eval_sample_packing")
    if packed and run.is_axolotl and held < row and totals.rows >= facts.conditions.limits["rows_few"]:
        yield Found(
            key=key,
            summary="the held-out rows do not fill one packed batch",
            evidence=(f"{held:.0f} tokens held out, {row} in a batch", totals.how),
            remedy="eval_sample_packing: false",
        )


@rule("PF-sequence-len")
def sequence_length(run: Run, model: Model) -> Iterator[Found]:
    length = run.number("sequence_len")
    changed = ("overrides_of_model_config", "model_config", "rope_scaling", "model_init_kwargs")
    if length and model.max_positions and length > model.max_positions and not any(run.get(key) for key in changed):
        yield Found(
            key="sequence_len",
            summary=f"sequence_len {length:g} is beyond the {model.max_positions} positions the model was trained on",
            remedy=f"sequence_len: {model.max_positions}, or set rope scaling under overrides_of_model_config.",
        )


@rule("PF-gradient-checkpointing")
def gradient_checkpointing(run: Run, world: int, facts: PreflightFacts) -> Iterator[Found]:
    allowed = facts.conditions.checkpointing
    key = "gradient_checkpointing_kwargs"
    for name in run.mapping(key):
        if name not in allowed:
            near = get_close_matches(name, sorted(allowed), n=1, cutoff=0.5)
            yield Found(
                key=f"{key}/{name}",
                summary=f"gradient checkpointing takes no argument {name}",
                evidence=(f"it takes {', '.join(sorted(allowed))}",),
                remedy=f"Rename it to {near[0]}." if near else f"Delete {name}.",
            )
    said = truth(run.get(f"{key}/use_reentrant"))
    place = f"{key}/use_reentrant"
    if said and run.get("unfrozen_parameters"):
        yield Found(key=place, summary="use_reentrant: true does not work with partly frozen models")
    elif said and world > 1 and run.get("rl") and run.get("adapter") == "qlora":
        yield Found(
            key=place, summary="use_reentrant: true does not work with preference training of qlora on many GPUs"
        )
    elif said is False and run.get("rl") == "ebft" and run.text("attn_implementation") == "flex_attention":
        remedy = f"{key}: {{use_reentrant: true}}"
        yield Found(key=place, summary="ebft with flex_attention needs use_reentrant: true", remedy=remedy)
    if run.on("activation_offloading") and not derive.checkpointing(run):
        yield Found(
            key="activation_offloading",
            summary="activation_offloading needs gradient_checkpointing",
            remedy="gradient_checkpointing: true",
        )
