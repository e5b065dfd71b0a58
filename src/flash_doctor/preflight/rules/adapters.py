"""Adapters and quantisation: what is loaded in how many bits, and what a merge would spoil."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Severity, Unknown
from flash_doctor.preflight.derive import ADAPTERS, is_adapter
from flash_doctor.preflight.inputs import Model
from flash_doctor.preflight.registry import AXOLOTL, Found, need, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.model import Part
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import Adapter


@rule("PF-quant-adapter", dialects=AXOLOTL)
def bits_and_adapter(run: Run) -> Iterator[Found]:
    adapter = run.get("adapter")
    four, eight = run.on("load_in_4bit"), run.on("load_in_8bit")
    if adapter == "qlora" and not four:
        summary = "adapter: qlora needs load_in_4bit: true"
        yield Found(key="adapter", summary=summary, evidence=run.where("load_in_4bit"), remedy="load_in_4bit: true")
    elif adapter == "qlora" and (eight or run.get("gptq")):
        other = "load_in_8bit" if eight else "gptq"
        yield Found(key=other, summary=f"adapter: qlora excludes {other}", remedy=f"Delete {other}.")
    elif adapter and str(adapter) not in ADAPTERS and not run.get("plugins"):
        near = str(adapter).lower()
        yield Found(
            key="adapter",
            summary=f"axolotl knows no adapter {adapter}",
            evidence=(f"it knows {', '.join(sorted(ADAPTERS))}; capitals count",),
            remedy=f"adapter: {near if near in ADAPTERS else 'lora'}",
        )
    elif (four or eight) and not adapter:
        key = "load_in_4bit" if four else "load_in_8bit"
        summary = f"{key} without an adapter: quantised weights cannot be trained themselves"
        yield Found(key=key, summary=summary, remedy=f"adapter: {'qlora' if four else 'lora'}")


@rule("PF-lora-4bit-ignored", dialects=AXOLOTL)
def four_bits_ignored(run: Run) -> Iterator[Found]:
    if run.get("adapter") == "lora" and run.on("load_in_4bit"):
        yield Found(
            key="load_in_4bit",
            summary="adapter: lora ignores load_in_4bit: the model is loaded in 16 bit",
            evidence=run.where("adapter"),
        )


@rule("PF-base-prequantised")
def quantised_base(run: Run, model: Part[Model], trained: Adapter | Absent, facts: PreflightFacts) -> Iterator[Found]:
    patterns = facts.conditions.patterns
    base = run.text("base_model")
    if is_adapter(run):
        method = model.quant_method if isinstance(model, Model) else ""
        named = patterns["names"].search(base)
        aware = patterns["aware"].search(base)
        if named or patterns["methods"].fullmatch(method):
            why = f"its name says {named[1].lstrip('-_')}" if named else f"its config.json says quant_method {method}"
            yield Found(
                key="base_model",
                severity=Severity.ERROR if run.on("merge_lora") else None,
                summary=f"{base} is already quantised: merging the adapter into it spoils the result",
                evidence=(why,),
                remedy="Train on the 16-bit model and quantise after merging; or keep the adapter unmerged.",
            )
        elif aware:
            yield Found(
                key="base_model",
                severity=Severity.INFO,
                summary=f"{base} is quantised ({aware[1].lstrip('-_')}); axolotl merges into such a base with care",
            )
        elif isinstance(model, Unknown):
            need(model)
    if not isinstance(trained, Absent):
        yield from _of_adapter(trained, base, facts)


def _of_adapter(trained: Adapter, base: str, facts: PreflightFacts) -> Iterator[Found]:
    """A finished adapter: what it was trained on, against what it is to be merged into."""
    named = facts.conditions.patterns["names"].search(trained.base)
    said = (f"{trained.where}: base_model_name_or_path = {trained.base}",)
    if named:
        yield Found(
            key="lora_model_dir",
            summary=f"the adapter was trained on {trained.base}, which is quantised",
            evidence=said,
            remedy="Merge it into the dequantised base, never back into 4 bit; or serve it unmerged.",
        )
    elif base and trained.base and trained.base.rstrip("/").lower() != base.rstrip("/").lower():
        yield Found(
            key="base_model",
            summary=f"the adapter was trained on another base than {base}",
            evidence=said,
            remedy=f"Merge it into {trained.base}.",
        )


@rule("PF-lora-incomplete")
def incomplete(run: Run, model: Part[Model], facts: PreflightFacts) -> Iterator[Found]:
    if run.get("adapter") not in ("lora", "qlora") or run.get("lora_model_dir"):
        return
    if run.is_axolotl:
        for key in ("lora_r", "lora_alpha"):
            if run.number(key) is None and not run.get("peft"):
                yield Found(key=key, summary=f"an adapter is asked for, but {key} is not set")
        targets = ("lora_target_linear", "lora_target_modules", "lora_target_parameters")
        if not any(run.get(key) for key in targets):
            yield Found(
                key="lora_target_modules",
                summary="no layer is named that the adapter should be put on",
                remedy="lora_target_linear: true",
            )
    names = run.get("lora_target_modules")
    if names and isinstance(model, Unknown):
        need(model)
    known = facts.conditions.linears.get(model.model_type) if isinstance(model, Model) else None
    wrong = [name for name in names if isinstance(name, str) and "." not in name] if isinstance(names, list) else []
    wrong = [name for name in wrong if known and name not in known and "*" not in name]
    if wrong and known:
        yield Found(
            key="lora_target_modules",
            summary=f"no layer of this model is called {', '.join(wrong)}",
            evidence=(f"its linear layers: {', '.join(sorted(known))}",),
            remedy="Correct the name, or lora_target_linear: true.",
        )
