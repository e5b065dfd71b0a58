"""Sample packing: several documents in one row, which must not see each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Capability, Severity, Unknown
from flash_doctor.preflight.derive import attention, dtype, is_adapter
from flash_doctor.preflight.registry import AXOLOTL, Found, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from flash_doctor.facts.frameworks import Schema
    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import Card, Distributions, Inputs

_HOPPER = Capability(major=9, minor=0)


@rule("PF-packing-sdpa-bf16", dialects=AXOLOTL)
def packed_sdpa(
    run: Run,
    schema: Schema,
    cards: tuple[Card, ...],
    stack: Distributions,
    axolotl: Version,
    facts: PreflightFacts,
    scene: Inputs,
) -> Iterator[Found]:
    asked = attention(run, schema, facts.conditions)
    least = min(card.capability for card in cards)
    if not run.on("sample_packing") or asked.name != "sdpa":
        return
    if dtype(run, least, stack.get("torch"), facts.conditions) != "bf16":
        return
    later = axolotl >= facts.conditions.versions["sdpa_newer_than_hopper"]
    if least < _HOPPER or (least != _HOPPER and not later):
        mild = _goes_through_varlen(axolotl, stack, scene, facts)
        yield Found(
            key=asked.key,
            severity=Severity.INFO if mild else None,
            summary="sample_packing with SDPA in bf16 "
            + ("relies on torch's newer varlen_attn" if mild else "can give a loss of 0.0 on this GPU"),
            evidence=(f"compute capability {least}", *run.where("sample_packing"), *run.where("bf16")),
        )


def _goes_through_varlen(axolotl: Version, stack: Distributions, scene: Inputs, facts: PreflightFacts) -> bool:
    """Whether packed rows are kept apart by torch's own varlen_attn instead of a mask."""
    torch, versions = stack.get("torch"), facts.conditions.versions
    if isinstance(scene.model, (Absent, Unknown)) or torch is None:
        return False
    new = axolotl >= versions["varlen_axolotl"] and torch >= versions["varlen_torch"]
    return new and scene.model.head_dim <= 256 and not scene.model.sliding_window


@rule("PF-packing-backend", dialects=AXOLOTL)
def packing_without_backend(run: Run, schema: Schema, facts: PreflightFacts) -> Iterator[Found]:
    asked = attention(run, schema, facts.conditions)
    backend = facts.conditions.backends.get(asked.packing)
    packs = backend is not None and backend.packs and (not schema.enums or _in_release(asked.packing, schema))
    if not run.on("sample_packing") or packs or asked.packing in ("sdpa", "eager"):
        return
    hub_kernel = "/" in asked.packing
    name = asked.packing or "no attention backend that axolotl's packing looks at"
    yield Found(
        key="sample_packing",
        severity=Severity.INFO if hub_kernel else None,
        summary=f"sample_packing with {name}: documents packed into one row see each other",
        evidence=run.where("attn_implementation") if run.get("attn_implementation") else (),
        remedy="attn_implementation: flash_attention_2"
        if not asked.name or asked.packing
        else "flash_attention: true (this release of axolotl looks only at the old flags)",
    )


def _in_release(name: str, schema: Schema) -> bool:
    supported = schema.enums.get("ATTN_IMPLS_SUPPORTING_PACKING")
    return supported is None or name in supported


@rule("PF-sage-loss", dialects=AXOLOTL)
def sage(run: Run, schema: Schema, facts: PreflightFacts) -> Iterator[Found]:
    if attention(run, schema, facts.conditions).name != "sage":
        return
    key = "attn_implementation" if run.get("attn_implementation") else "sage_attention"
    if not is_adapter(run):
        yield Found(key=key, summary="SageAttention under a full fine-tune: the loss falls to 0")
    elif not run.on("sample_packing") and not run.on("pad_to_sequence_len"):
        yield Found(key=key, summary="SageAttention on rows of uneven length: the loss explodes")
