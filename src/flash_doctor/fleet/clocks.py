"""Clocks that are off, as far as that is certain: the question's own travelling time is never taken for skew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model.fleet import Clock, Difference, Effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flash_doctor.facts.fleet import FleetPolicy, Judgement
    from flash_doctor.model.fleet import Node


def clock_differences(nodes: Sequence[Node], policy: FleetPolicy) -> Iterator[Difference]:
    """Nodes whose clock differs from the median node's; the asking machine's own clock may be the wrong one."""
    clocks = {node.name: node.clock for node in nodes if node.clock}
    if not clocks:
        return
    middle = sorted(clocks.values(), key=lambda clock: clock.low + clock.high)[len(clocks) // 2]
    off: dict[Effect, dict[str, float]] = {}
    rows: dict[Effect, Judgement] = {}
    for name, clock in clocks.items():
        seconds = Clock(low=clock.low - middle.high, high=clock.high - middle.low).certain
        judgement = policy.judge_clock(seconds)
        if judgement:
            rows[judgement.effect] = judgement
            off.setdefault(judgement.effect, {})[name] = seconds
    for effect, seconds_of in off.items():
        yield _difference(seconds_of, rows[effect], policy)


def _difference(off: dict[str, float], judgement: Judgement, policy: FleetPolicy) -> Difference:
    furthest = max(off.values(), key=abs)
    direction = "ahead" if furthest > 0 else "behind"
    words = f"{abs(furthest):.1f} s {direction}"
    return Difference(
        aspect="clock",
        title=policy.aspect("clock").title,
        value=words if len(off) == 1 else f"up to {words}",
        usual="that of the median node",
        effect=judgement.effect,
        why=judgement.why,
        source=str(judgement.source),
        nodes=tuple(off),
    )
