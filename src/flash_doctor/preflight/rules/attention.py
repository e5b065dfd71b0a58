"""The attention backend: named rightly, installed, loadable, and able to do this on this GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.model import Absent, Severity, Unknown, known
from flash_doctor.preflight.config import Run, truth
from flash_doctor.preflight.derive import attention, dtype, plain_name, unified
from flash_doctor.preflight.registry import AXOLOTL, Found, need, rule
from flash_doctor.system.commands import FIX, PLAN, command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_doctor.facts.frameworks import Schema
    from flash_doctor.facts.preflight import Backend, PreflightFacts
    from flash_doctor.model import Part
    from flash_doctor.preflight.inputs import Card, Distributions, FlashBuild, Hub, Model

_FLASH_2 = {"flash_attention_2", "kernels-community/flash-attn2"}
_DATACENTER = {(8, 0), (9, 0)}
_HOPPER = 9
_TAKES_FLASH_4 = {"flash_attention_2", "flash_attention_4"}  # axolotl swaps the newer one in where it can


@rule("PF-attn-conflict", dialects=AXOLOTL)
def two_spellings(run: Run, schema: Schema, facts: PreflightFacts) -> Iterator[Found]:
    asked = attention(run, schema, facts.conditions)
    said = run.text("attn_implementation")
    if unified(schema) and said and asked.flags:
        yield Found(
            key="attn_implementation",
            summary=f"attn_implementation and the old flag {asked.flags[0]} are both set",
            evidence=tuple(line for flag in asked.flags for line in run.where(flag)),
            remedy=f"Keep attn_implementation: {said}, delete {', '.join(asked.flags)}.",
        )
    if not unified(schema) and len(asked.flags) > 1:
        yield Found(
            key=asked.flags[0],
            summary=f"{len(asked.flags)} attention flags are on; only one may be",
            evidence=tuple(line for flag in asked.flags[1:] for line in run.where(flag)),
            remedy=f"Keep one of {', '.join(asked.flags)}.",
        )


@rule("PF-attn-name", dialects=AXOLOTL)
def misnamed(run: Run, schema: Schema, facts: PreflightFacts) -> Iterator[Found]:
    said = run.text("attn_implementation")
    canonical = schema.enums.get("CANONICAL_ATTN_IMPLS", ())
    if said and canonical and "/" not in said and said not in canonical:
        right = facts.conditions.spellings.get(said, "")
        yield Found(
            key="attn_implementation",
            summary=f"axolotl {schema.release} knows no attention backend {said}",
            evidence=(f"it knows {', '.join(sorted(canonical))}",),
            remedy=f"attn_implementation: {right}" if right else "",
        )


@rule("PF-attn-arch")
def wrong_gpu(
    run: Run, schema: Schema | Absent, cards: tuple[Card, ...], stack: Part[Distributions], facts: PreflightFacts
) -> Iterator[Found]:
    asked = attention(run, schema, facts.conditions)
    backend = asked.backend(facts.conditions)
    unable = [card for card in cards if backend and not backend.runs_on(card.capability)]
    if backend and unable:
        old = unable[0].capability.major < 8
        instead = "xformers or sdpa" if old else "flash_attention_2"
        yield Found(
            key=asked.key,
            summary=f"{backend.name} does not run on {unable[0].name}",
            evidence=(f"compute capability {unable[0].capability}; it needs {_needs(backend)}",),
            remedy=f"attn_implementation: {instead}" + (" (old flags: xformers_attention: true)" if old else ""),
        )
        return
    installed = known(stack)
    hopper = next((card for card in cards if card.capability.major == _HOPPER), None)
    if asked.name in _TAKES_FLASH_4 and hopper and installed and installed.get("flash-attn-4"):
        yield Found(
            key=asked.key,
            severity=Severity.WARNING,
            summary=f"flash-attn-4 is installed and would be used on {hopper.name}, where its wheel cannot train",
            evidence=(
                f"flash-attn-4 {installed.get('flash-attn-4')} has no backward kernel for compute capability 9.0",
            ),
            remedy="Remove flash-attn-4 from this environment; flash_attention_2 or 3 is used then.",
        )


def _needs(backend: Backend) -> str:
    if backend.capabilities:
        return "one of " + ", ".join(map(str, backend.capabilities))
    if backend.majors:
        return " or ".join(f"{major}.x" for major in backend.majors)
    return f"{backend.oldest} or newer"


@rule("PF-attn-package")
def package_missing(
    run: Run,
    schema: Schema | Absent,
    stack: Distributions,
    cards: Part[tuple[Card, ...]],
    variables: Mapping[str, str],
    hub: Part[Hub],
    facts: PreflightFacts,
) -> Iterator[Found]:
    asked = attention(run, schema, facts.conditions)
    backend = asked.backend(facts.conditions)
    able = all(backend is None or backend.runs_on(card.capability) for card in known(cards) or ())
    if backend and able:  # a GPU that cannot do it is told by PF-attn-arch: no package would help
        yield from _missing(asked.key, backend, stack, _reachable(backend, variables, hub), facts)
        yield from _too_old(asked.key, backend, stack, facts)
    if run.count("context_parallel_size", 1) > 1 and not stack.get("ring-flash-attn"):
        yield Found(
            key="context_parallel_size",
            summary="context_parallel_size above 1 needs the package ring-flash-attn, which is not installed",
            remedy="pip install ring-flash-attn",
        )


def _reachable(backend: Backend, variables: Mapping[str, str], hub: Part[Hub]) -> bool:
    """Whether the hub's kernel can be had: online, or in the cache already."""
    there = known(hub)
    cached = there is not None and backend.kernel in there.kernels_cached
    offline = truth(variables.get("HF_HUB_OFFLINE", "0")) is True or (there is not None and there.offline)
    return cached or not offline


def _missing(
    key: str, backend: Backend, stack: Distributions, reachable: bool, facts: PreflightFacts
) -> Iterator[Found]:
    if not backend.packages or stack.any(backend.packages):
        return
    transformers = stack.get("transformers")
    modern = bool(transformers and transformers >= facts.conditions.versions["kernel_fallback"])
    fallback = bool(backend.kernel and modern and stack.get("kernels") and reachable)
    name = backend.packages[0]
    found = (f"not installed: {' or '.join(backend.packages)}",)
    if fallback:
        yield Found(
            key=key,
            severity=Severity.INFO,
            summary=f"{name} is not installed; transformers will fetch {backend.kernel} from the hub instead",
            evidence=found,
            remedy=f"Nothing, if the hub can be reached when training starts; else install {name}.",
        )
        return
    mends = FIX if name == "flash-attn" else command("pip install {}", name)
    yield Found(
        key=key, summary=f"{backend.name} needs the package {name}", evidence=found, commands=(mends,), remedy=(
            f"Install {name}, or take attn_implementation: sdpa with sample_packing: false."
        ),
    )  # fmt: skip


def _too_old(key: str, backend: Backend, stack: Distributions, facts: PreflightFacts) -> Iterator[Found]:
    versions = facts.conditions.versions
    transformers, flash = stack.get("transformers"), stack.get("flash-attn")
    strict = bool(transformers and transformers >= versions["kernel_fallback"])
    if backend.name == "flash_attention_2" and flash and strict and flash < versions["flash_minimum"]:
        yield _old(key, "flash-attn", flash, versions["flash_minimum"], backend)
    for name, least in (("torch", backend.torch), ("torchao", backend.torchao)):
        installed = stack.get(name)
        if least and installed is None and name == "torchao":
            yield Found(
                key=key,
                summary=f"{backend.name} needs torchao {least} or newer, which is not installed",
                remedy="Install it, or choose another attn_implementation.",
                commands=(command("pip install {}", f"torchao>={least}"),),
            )
        if least and installed and Version(installed.public) < least:
            yield _old(key, name, installed, least, backend)


def _old(key: str, name: str, installed: Version, least: Version, backend: Backend) -> Found:
    return Found(
        key=key,
        summary=f"{backend.name} needs {name} {least} or newer; {installed} is installed",
        remedy=f"Upgrade {name}, or choose another attn_implementation.",
    )


@rule("PF-attn-broken")
def cannot_be_loaded(
    run: Run, schema: Schema | Absent, stack: Distributions, flash: FlashBuild, facts: PreflightFacts
) -> Iterator[Found]:
    asked = attention(run, schema, facts.conditions)
    if asked.name != "flash_attention_2" or not stack.get("flash-attn"):
        return
    if isinstance(flash.loads, Unknown):
        need(flash.loads)
    if flash.loads is False:
        yield Found(
            key=asked.key,
            summary=f"the installed flash-attn {stack.get('flash-attn')} cannot be used with this torch and GPU",
            evidence=(flash.error, f"torch {stack.get('torch')}") if flash.error else (f"torch {stack.get('torch')}",),
            remedy="Install the wheel made for this torch; pip's own cache would serve the same file again.",
            commands=(PLAN, FIX),
        )


@rule("PF-attn-dtype")
def full_precision(
    run: Run, schema: Schema | Absent, stack: Distributions, cards: Part[tuple[Card, ...]], facts: PreflightFacts
) -> Iterator[Found]:
    asked = attention(run, schema, facts.conditions)
    backend = asked.backend(facts.conditions)
    least = min((card.capability for card in known(cards) or ()), default=None)
    if backend and backend.half_only and dtype(run, least, stack.get("torch"), facts.conditions) == "fp32":
        yield Found(
            key="bf16",
            summary=f"{backend.name} computes only in fp16 or bf16, but the run is in 32 bit",
            evidence=(*run.where(asked.key), *run.where("fp16")),
        )


@rule("PF-attn-head-dim")
def wide_heads(
    run: Run,
    schema: Schema | Absent,
    model: Model,
    stack: Distributions,
    cards: Part[tuple[Card, ...]],
    facts: PreflightFacts,
) -> Iterator[Found]:
    asked = attention(run, schema, facts.conditions)
    backend = asked.backend(facts.conditions)
    width = max(model.head_dim, model.widest_head)
    said = (f"the model's heads have {width} dimensions",)
    if backend and backend.head_dim and width > backend.head_dim and not run.on("gemma4_hybrid_attn_impl"):
        summary = f"{backend.name} takes heads of at most {backend.head_dim} dimensions"
        yield Found(key=asked.key, summary=summary, evidence=said)
    elif plain_name(asked.name) in _FLASH_2 and 192 < width <= 256:
        flash = stack.get("flash-attn")
        weak = [
            card for card in need(cards, "no GPU") if (card.capability.major, card.capability.minor) not in _DATACENTER
        ]
        old = flash is not None and flash < facts.conditions.versions["flash_wide_heads"]
        if weak and (old or model.attention_dropout > 0):
            summary = f"flash-attn has no backward pass for heads this wide on {weak[0].name}"
            yield Found(key=asked.key, summary=summary, evidence=(*said, f"flash-attn {flash}"))
    elif asked.name == "flash_attention_4" and width > 128:
        summary = "flash_attention_4 takes heads of at most 128 dimensions: axolotl falls back to flash_attention_2"
        yield Found(key=asked.key, severity=Severity.INFO, summary=summary, evidence=said, remedy="Nothing to do.")
