"""Clocks that are off, as far as that is certain: the question's own travelling time is never taken for skew."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flash_doctor.fleet.aspects import NOT_SET, degree
from flash_doctor.fleet.next_steps import commands_for, shared_plans, treatment
from flash_doctor.model import Absent, Unknown
from flash_doctor.model.fleet import (
    ClockOffset,
    Comparison,
    Difference,
    Effect,
    Lost,
    LostNodes,
    Node,
    NotKnown,
    Odd,
    Sick,
    Usual,
)
from flash_doctor.system.commands import all_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flash_doctor.facts.fleet import FleetPolicy, Judgement
    from flash_doctor.model import CommandLine, Part


def clock_differences(nodes: Sequence[Node], policy: FleetPolicy) -> Iterator[Difference]:
    """Nodes whose clock differs from the median node's; the asking machine's own clock may be the wrong one."""
    clocks = {node.name: node.clock for node in nodes if node.clock}
    if not clocks:
        return
    middle = sorted(clocks.values(), key=lambda clock: clock.low + clock.high)[len(clocks) // 2]
    off: dict[Effect, dict[str, float]] = {}
    rows: dict[Effect, Judgement] = {}
    for name, clock in clocks.items():
        seconds = ClockOffset(low=clock.low - middle.high, high=clock.high - middle.low).certain
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


NONE = "none"
_RANK = {effect: rank for rank, effect in enumerate(Effect)}
_UNTOLD = Unknown(unknown="the report does not tell it: another version of flash-doctor wrote it")


def compare(found: Iterable[Node | Lost], policy: FleetPolicy, against: Node | None = None) -> Comparison:
    """The nodes against what most of them have, or against a known good one."""
    nodes, lost = _apart(found)
    usual: list[Usual] = []
    differences: list[Difference] = []
    not_known: list[NotKnown] = []
    for key in _keys(nodes, policy, against):
        spread = _spread(key, nodes, policy)
        measure = _measure(key, spread, policy, against)
        not_known += [NotKnown(aspect=key, title=spread.title, why=why, nodes=names) for why, names in spread.unknown]
        if measure:
            usual.append(measure)
            differences += _differences(key, spread, measure, policy)
    differences += clock_differences(nodes, policy)
    differences = _ranked(differences)
    return Comparison(
        against=against.name if against else "",
        names=tuple(node.name for node in nodes),
        usual=tuple(usual),
        differences=tuple(differences),
        odd=tuple(_odd(nodes, differences, policy)),
        sick=tuple(_sick(nodes)),
        lost=tuple(LostNodes(why=why, nodes=names) for why, names in _grouped((one.why, one.name) for one in lost)),
        not_known=tuple(not_known),
        plans=tuple(shared_plans(nodes, differences, policy)),
    )


def _ranked(differences: list[Difference]) -> list[Difference]:
    """The worst effect first; in each, one of every aspect before the second of any."""
    seen: Counter[str] = Counter()
    turns = []
    for difference in differences:
        turns.append((_RANK[difference.effect], seen[difference.aspect]))
        seen[difference.aspect] += 1
    order = sorted(range(len(differences)), key=turns.__getitem__)
    return [differences[index] for index in order]


def _apart(found: Iterable[Node | Lost]) -> tuple[list[Node], list[Lost]]:
    """Nodes and lost ones, each under a name of its own: a report that takes another's name hides no node."""
    nodes: list[Node] = []
    lost: list[Lost] = []
    seen: Counter[str] = Counter()
    for one in found:
        seen[one.name] += 1
        if seen[one.name] > 1:
            one = replace(one, name=f"{one.name}#{seen[one.name]}")
        if isinstance(one, Node):
            nodes.append(one)
        else:
            lost.append(one)
    return nodes, lost


def _keys(nodes: Sequence[Node], policy: FleetPolicy, against: Node | None) -> list[str]:
    """Aspects in the policy's order, then the variables that any node has."""
    told = {key for node in (*nodes, *([against] if against else [])) for key in node.values}
    return [*(key for key in policy.aspects if key in told), *sorted(told - policy.aspects.keys())]


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    """The second of each pair by the first, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, []).append(name)
    return sorted(((key, tuple(names)) for key, names in groups.items()), key=lambda group: (-len(group[1]), group[0]))


@dataclass(frozen=True, slots=True)
class _Spread:
    """The values of one aspect with the nodes that have them, most frequent first; None: there is none."""

    title: str
    known: list[tuple[str | None, tuple[str, ...]]]
    unknown: list[tuple[str, tuple[str, ...]]]


def value_of(node: Node, key: str, *, variable: bool) -> Part[str]:
    """A node's value; a variable that its report does not list is not set."""
    return node.values.get(key, NOT_SET if variable else _UNTOLD)


def _spread(key: str, nodes: Sequence[Node], policy: FleetPolicy) -> _Spread:
    variable = key not in policy.aspects
    values: dict[str | None, list[str]] = {}
    unknown: dict[str, list[str]] = {}
    for node in nodes:
        part = value_of(node, key, variable=variable)
        if isinstance(part, Unknown):
            unknown.setdefault(part.unknown, []).append(node.name)
        else:
            values.setdefault(None if isinstance(part, Absent) else part, []).append(node.name)
    known = sorted(values.items(), key=lambda item: (-len(item[1]), item[0] is None, item[0] or ""))
    return _Spread(
        title=key if variable else policy.aspects[key].title,
        known=[(value, tuple(names)) for value, names in known],
        unknown=[(why, tuple(names)) for why, names in unknown.items()],
    )


def _measure(key: str, spread: _Spread, policy: FleetPolicy, against: Node | None) -> Usual | None:
    """What the others are held against; None where nobody knows the aspect, or no node has such a thing."""
    total = sum(len(names) for _, names in spread.known)
    if against:
        part = value_of(against, key, variable=key not in policy.aspects)
        if isinstance(part, Unknown):
            return None
        value = None if isinstance(part, Absent) else part
    elif spread.known:
        value = spread.known[0][0]
    else:
        return None
    if value is None and all(each is None for each, _ in spread.known):
        return None
    having = len(dict(spread.known).get(value, ()))
    return Usual(aspect=key, title=spread.title, value=NONE if value is None else value, nodes=having, known=total)


def _differences(key: str, spread: _Spread, usual: Usual, policy: FleetPolicy) -> Iterator[Difference]:
    for value, names in spread.known:
        text = NONE if value is None else value
        if text != usual.value:
            judgement = policy.judge(key, degree(value, None if usual.value == NONE else usual.value))
            yield Difference(
                aspect=key,
                title=spread.title,
                value=text,
                usual=usual.value,
                effect=judgement.effect,
                why=judgement.why,
                source=str(judgement.source),
                nodes=names,
            )


def _odd(nodes: Sequence[Node], differences: Sequence[Difference], policy: FleetPolicy) -> Iterator[Odd]:
    """Nodes with the same harmful differences and the same interpreter, the worst and then the most first."""
    of_node: dict[str, list[int]] = {}
    for index, difference in enumerate(differences):
        if difference.effect is not Effect.HARMLESS:
            for name in difference.nodes:
                of_node.setdefault(name, []).append(index)
    alike: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for node in nodes:
        if node.name in of_node:
            alike.setdefault((node.python, node.nccl_package, tuple(of_node[node.name])), []).append(node.name)
    for (python, package, indexes), names in sorted(alike.items(), key=lambda item: (item[0][2][0], -len(item[1]))):
        own = [differences[index] for index in indexes]
        yield Odd(
            nodes=tuple(names),
            effect=own[0].effect,
            differences=tuple(dict.fromkeys(difference.title for difference in own)),
            commands=commands_for(own, policy, python=python, package=package),
        )


def _sick(nodes: Sequence[Node]) -> Iterator[Sick]:
    """Errors of the nodes' own checks, the most frequent first."""
    summaries: dict[tuple[str, tuple[CommandLine, ...]], str] = {}
    having: dict[tuple[str, tuple[CommandLine, ...]], dict[str, None]] = {}
    for node in nodes:
        for ailment in node.ailments:
            key = (ailment.code, all_or_none((treatment(ailment, node.python),)))
            summaries.setdefault(key, ailment.summary)
            having.setdefault(key, {})[node.name] = None
    for (code, lines), names in sorted(having.items(), key=lambda item: (-len(item[1]), item[0])):
        yield Sick(code=code, summary=summaries[code, lines], nodes=tuple(names), commands=lines)
