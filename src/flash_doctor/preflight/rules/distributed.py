"""Several GPUs: DeepSpeed, FSDP, and the variables of NCCL."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.model import Absent, Part, Severity, Unknown, known
from flash_doctor.preflight import derive
from flash_doctor.preflight.config import Run, truth
from flash_doctor.preflight.deepspeed import ZeroPlan, read_plan
from flash_doctor.preflight.inputs import Card, Distributions, Files
from flash_doctor.preflight.registry import Found, rule
from flash_doctor.system.commands import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_doctor.facts.preflight import PreflightFacts

_SAME = {
    "train_micro_batch_size_per_gpu": "micro_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
}
_BELOW_NVLINK = {"LOC", "0"}
_PAIRED = ("dpo", "kto", "orpo", "ipo")


@rule("PF-deepspeed")
def deepspeed(run: Run, files: Files, world: int, stack: Part[Distributions]) -> Iterator[Found]:
    plan = read_plan(run, files)
    if plan is None:
        return
    if run.get("fsdp_config") or run.get("fsdp"):
        yield Found(
            key="deepspeed",
            summary="deepspeed and FSDP are both configured; DeepSpeed is dropped without a word",
            remedy="Keep one of the two.",
        )
    if not plan.exists or plan.fault:
        yield _unusable(plan, files)
        return
    if isinstance(stack, Distributions) and not stack.get("deepspeed"):
        yield Found(
            key="deepspeed",
            summary="the package deepspeed is not installed",
            commands=(command("pip install deepspeed"),),
        )
    for theirs, ours in _SAME.items():
        fixed, said = plan.batch.get(theirs), run.number(ours)
        if fixed is not None and said is not None and fixed != said:
            yield Found(
                key=ours,
                summary=f"{plan.name} says {theirs} {fixed:g}, the configuration {said:g}",
                remedy=f'Write "{theirs}": "auto" in {plan.name}.',
            )
    if world == 1:
        yield Found(
            key="deepspeed",
            severity=Severity.WARNING,
            summary="DeepSpeed on one GPU shards nothing and only costs time",
        )


def _unusable(plan: ZeroPlan, files: Files) -> Found:
    if plan.fault:
        return Found(key="deepspeed", summary=f"{plan.name} is no JSON file of DeepSpeed", evidence=(plan.fault,))
    names = [path.name for root in files.roots for path in (root / "deepspeed_configs").glob("*.json")]
    near = get_close_matches(plan.name.rpartition("/")[2], names, n=1)
    return Found(
        key="deepspeed",
        summary=f"there is no file {plan.name}",
        evidence=tuple(f"deepspeed_configs/{name} is there" for name in near),
        commands=(command("axolotl fetch deepspeed_configs"),),
        remedy="Fetch axolotl's own files, or fix the path.",
    )


@rule("PF-zero3-checkpoint")
def zero_three(run: Run, files: Files) -> Iterator[Found]:
    plan = read_plan(run, files)
    if plan is None or plan.stage != 3 or not derive.is_adapter(run) or not derive.checkpointing(run):
        return
    if not derive.reentrant(run):
        yield Found(
            key="gradient_checkpointing_kwargs",
            summary="ZeRO stage 3 with an adapter and non-reentrant checkpointing stops in the first backward pass",
            evidence=(f"{plan.name}: stage 3", *run.where("adapter")),
        )


@rule("PF-fsdp-version")
def fsdp(run: Run, stack: Part[Distributions], facts: PreflightFacts) -> Iterator[Found]:
    if not derive.sharded(run):
        return
    key = "fsdp_config" if run.get("fsdp_config") else "fsdp"
    two = derive.fsdp_two(run)
    torch = stack.get("torch") if isinstance(stack, Distributions) else None
    least = facts.conditions.versions["fsdp_two_torch"]
    if not two:
        yield Found(key=key, summary="FSDP without fsdp_version: 2 is the old FSDP1, which is on its way out")
        yield from _at_top(run)
        return
    if torch and Version(torch.public) < least:
        yield Found(
            key="fsdp_version",
            severity=Severity.ERROR,
            summary=f"FSDP2 needs torch {least}; {torch} is installed",
            remedy="Upgrade torch, or fsdp_version: 1.",
        )
    if (run.on("load_in_4bit") or run.on("load_in_8bit")) and run.get("rl") in _PAIRED:
        yield Found(
            key="fsdp_version",
            severity=Severity.ERROR,
            summary=f"FSDP2 does not take quantised weights with rl: {run.get('rl')}",
            remedy="fsdp_version: 1, or 16-bit weights.",
        )
    if run.get("rl") == "grpo" and run.get("trl/async_prefetch"):
        yield Found(
            key="trl/async_prefetch", summary="async_prefetch with FSDP can hang", remedy="async_prefetch: false"
        )
    yield from _at_top(run)


def _at_top(run: Run) -> Iterator[Found]:
    if run.get("fsdp_state_dict_type"):
        yield Found(
            key="fsdp_state_dict_type",
            summary="fsdp_state_dict_type at the top level is not read",
            remedy=f"fsdp_config: {{state_dict_type: {run.get('fsdp_state_dict_type')}}}",
        )


@rule("PF-nccl-env")
def nccl(
    run: Run,
    world: int,
    variables: Mapping[str, str],
    cards: Part[tuple[Card, ...]],
    interfaces: Part[tuple[str, ...]],
) -> Iterator[Found]:
    if world < 2:
        return
    yield from _interface(variables, interfaces)
    here = known(cards) or ()
    linked = any(card.nvlink for card in here)
    off = truth(variables.get("NCCL_P2P_DISABLE", "0")) is True
    level = variables.get("NCCL_P2P_LEVEL", "")
    if linked and (off or level in _BELOW_NVLINK):
        name = "NCCL_P2P_DISABLE" if off else "NCCL_P2P_LEVEL"
        yield Found(
            key=name,
            summary=f"{name}={variables[name]} keeps NCCL from using NVLink",
            remedy="Take it away.",
            commands=(command("unset {}", name),),
        )
    consumer = [card for card in here if "RTX 4090" in card.name or "RTX 5090" in card.name]
    if len(consumer) > 1 and not any(card.p2p for card in consumer) and not off and not run.is_axolotl:
        yield Found(
            key="NCCL_P2P_DISABLE",
            summary=f"{consumer[0].name} cannot talk to its neighbour directly; NCCL may hang",
            commands=(command("export NCCL_P2P_DISABLE=1"),),
        )
    if variables.get("NCCL_DEBUG", "").upper() == "TRACE":
        summary = "NCCL_DEBUG=TRACE writes gigabytes of log"
        yield Found(key="NCCL_DEBUG", severity=Severity.INFO, summary=summary, remedy="NCCL_DEBUG=INFO")
    infiniband = isinstance(interfaces, tuple) and any(name.startswith("ib") for name in interfaces)
    if infiniband and truth(variables.get("NCCL_IB_DISABLE", "0")) is True:
        summary = "NCCL_IB_DISABLE=1 on a machine with InfiniBand"
        yield Found(key="NCCL_IB_DISABLE", severity=Severity.INFO, summary=summary, remedy="unset NCCL_IB_DISABLE")


def _interface(variables: Mapping[str, str], interfaces: Part[tuple[str, ...]]) -> Iterator[Found]:
    wanted = variables.get("NCCL_SOCKET_IFNAME", "")
    if not wanted or isinstance(interfaces, (Absent, Unknown)) or wanted.startswith("^"):
        return
    names = [name.lstrip("=") for name in wanted.split(",")]
    if not any(real.startswith(name) for name in names for real in interfaces):
        yield Found(
            key="NCCL_SOCKET_IFNAME",
            severity=Severity.ERROR,
            summary=f"NCCL_SOCKET_IFNAME={wanted} names no network interface of this machine",
            evidence=(f"there are {', '.join(interfaces)}",),
            commands=(command("unset NCCL_SOCKET_IFNAME"),),
        )
