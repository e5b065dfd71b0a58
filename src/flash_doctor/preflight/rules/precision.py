"""Number types against the GPU: its compute capability counts, never torch's answer, which includes emulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Capability, Severity, Unknown
from flash_doctor.preflight.derive import dtype
from flash_doctor.preflight.registry import Found, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import Card, Inputs

_AMPERE = Capability(major=8, minor=0)
_HOPPER = Capability(major=9, minor=0)
_FP8_LIBRARIES = ("torchao", "transformer-engine", "ms-amp")


def _weakest(cards: tuple[Card, ...]) -> Card:
    return min(cards, key=lambda card: card.capability)


def _is(card: Card) -> str:
    return f"{card.name} has compute capability {card.capability}"


@rule("PF-bf16-arch")
def no_bf16(run: Run, cards: tuple[Card, ...], facts: PreflightFacts, scene: Inputs) -> Iterator[Found]:
    card = _weakest(cards)
    if card.capability >= _AMPERE:
        return
    said = next((key for key in ("bf16", "bfloat16") if run.on(key)), "")
    torch = None if isinstance(scene.stack, (Absent, Unknown)) else scene.stack.get("torch")
    if said:
        yield Found(
            key=said,
            summary=f"{card.name} has no bf16 units",
            evidence=(f"{_is(card)}; bf16 begins with {_AMPERE}",),
            remedy="bf16: false, fp16: true",
        )
    elif torch is not None and dtype(run, card.capability, torch, facts.conditions) == "bf16":
        yield Found(
            key="bf16",
            severity=Severity.WARNING,
            summary=f"bf16: auto will choose bf16 on {card.name}, which only emulates it: many times slower than fp16",
            evidence=(_is(card), f"torch {torch} counts emulation as support"),
            remedy="bf16: false, fp16: true",
        )


@rule("PF-tf32-fp8-arch")
def no_tf32_or_fp8(run: Run, cards: tuple[Card, ...], scene: Inputs) -> Iterator[Found]:
    card = _weakest(cards)
    if run.on("tf32") and card.capability < _AMPERE:
        yield Found(key="tf32", summary=f"{card.name} has no tf32", evidence=(_is(card),), remedy="tf32: auto")
    if not run.on("fp8"):
        return
    if card.capability < _HOPPER:
        yield Found(key="fp8", summary=f"{card.name} cannot train in fp8", evidence=(_is(card),), remedy="fp8: false")
        return
    if not run.on("torch_compile"):
        yield Found(
            key="fp8",
            severity=Severity.WARNING,
            summary="fp8 without torch_compile is slower than bf16",
            remedy="torch_compile: true",
        )
    stack = scene.stack
    if not isinstance(stack, (Absent, Unknown)) and not stack.any(_FP8_LIBRARIES):
        yield Found(
            key="fp8",
            summary="fp8 needs torchao, Transformer Engine or MS-AMP; none is installed",
            remedy="pip install torchao",
        )
