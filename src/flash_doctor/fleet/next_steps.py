"""What to type on nodes that differ or are sick, and where one plan of the doctor serves several of them.

Values come from reports of anybody, so each is quoted for the shell before it stands in a command.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from flash_doctor.model.fleet import Ailment, Difference, Effect, Node, SharedPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flash_doctor.facts.fleet import FleetPolicy

MAX_COMMANDS = 8
NONE = "none"


def commands_for(
    differences: Iterable[Difference], policy: FleetPolicy, *, python: str, package: str
) -> tuple[str, ...]:
    """One line for each thing to do, in the order of the differences, each once."""
    commands: dict[str, None] = {}
    for difference in differences:
        aspect = policy.aspect(difference.aspect)
        template = _template(difference, aspect.command, package)
        for part in filter(None, template.split("; ")):
            commands[_filled(part, difference, python, package)] = None
        if not template:
            commands[f"# {difference.title}: {aspect.next}"] = None
    # what the doctor mends is mended last: it looks at what the other commands left
    ordered = sorted(commands, key=lambda command: command.startswith("flash-doctor fix"))
    return tuple(ordered[:MAX_COMMANDS])


def _template(difference: Difference, command: str, package: str) -> str:
    if difference.usual == NONE and "{usual}" in command:
        return "unset {name}" if "{name}" in command else ""
    return "" if "{package}" in command and not package else command


def _filled(template: str, difference: Difference, python: str, package: str) -> str:
    return template.format(
        python=shlex.quote(python),
        usual=shlex.quote(difference.usual),
        name=shlex.quote(difference.aspect),
        package=shlex.quote(package),
    )


def treatment(ailment: Ailment, python: str) -> str:
    """What to type for an error that the node's own check found."""
    verb = "fix" if ailment.plannable else "check"
    return f"flash-doctor {verb} --python {shlex.quote(python)}"


def shared_plans(nodes: Sequence[Node], differences: Iterable[Difference], policy: FleetPolicy) -> Iterator[SharedPlan]:
    """Nodes that need a plan and are alike in all that it depends on, two or more together."""
    harmful = [difference for difference in differences if difference.effect is not Effect.HARMLESS]
    needing = {name for each in harmful if policy.aspect(each.aspect).plan for name in each.nodes}
    needing |= {node.name for node in nodes if any(ailment.plannable for ailment in node.ailments)}
    # a plan for the torch that has to go would be the wrong one
    needing -= {name for each in harmful if policy.aspect(each.aspect).before_plan for name in each.nodes}
    alike: dict[tuple[str, ...], list[Node]] = {}
    for node in nodes:
        if node.name in needing:
            alike.setdefault((node.python, *node.signature), []).append(node)
    groups = sorted((group for group in alike.values() if len(group) > 1), key=len, reverse=True)
    for number, group in enumerate(groups, 1):
        yield _plan(number, group)


def _plan(number: int, group: list[Node]) -> SharedPlan:
    report = group[0].source or f"{group[0].name}.json"
    recorded = shlex.quote(report)
    folder, python = f"bundle-{number}", shlex.quote(group[0].python)
    return SharedPlan(
        nodes=tuple(node.name for node in group),
        report=report,
        commands=(
            f"flash-doctor plan --for {recorded} --json > plan-{number}.json",
            f"flash-doctor bundle {folder} --plan plan-{number}.json --for {recorded}",
            f"flash-doctor fix --bundle {folder} --python {python}   # on each of them",
        ),
    )
