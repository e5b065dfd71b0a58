"""What to type on nodes that differ or are sick, and where one plan of the doctor serves several of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.model.fleet import Ailment, Difference, Effect, Node, SharedPlan
from flash_doctor.system.commands import Word, all_or_none, command, comment, of_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flash_doctor.facts.fleet import FleetPolicy
    from flash_doctor.model import CommandLine

MAX_COMMANDS = 8
NONE = "none"


def commands_for(
    differences: Iterable[Difference], policy: FleetPolicy, *, python: str, package: str
) -> tuple[CommandLine, ...]:
    """One line for each thing to do, in the order of the differences, each once."""
    commands: dict[CommandLine, None] = {}
    for difference in differences:
        aspect = policy.aspect(difference.aspect)
        parts = filter(None, _template(difference, aspect.command, package).split("; "))
        lines = all_or_none(_filled(part, difference, python, package) for part in parts)
        commands |= dict.fromkeys(lines or (comment(f"{difference.title}: {aspect.next}"),))
    # what the doctor mends is mended last: it looks at what the other commands left
    ordered = sorted(commands, key=lambda command: command.startswith("flash-doctor fix"))
    return tuple(ordered[:MAX_COMMANDS])


def _template(difference: Difference, command: str, package: str) -> str:
    if difference.usual == NONE and "{usual}" in command:
        return "unset {name}" if "{name}" in command else ""
    return "" if "{package}" in command and not package else command


def _filled(template: str, difference: Difference, python: str, package: str) -> CommandLine | None:
    values: dict[str, Word] = {
        "python": Path(python),
        "usual": difference.usual,
        "name": difference.aspect,
        "package": package,
    }
    return of_facts(template, values)


def treatment(ailment: Ailment, python: str) -> CommandLine | None:
    """What to type for an error that the node's own check found."""
    if ailment.plannable:
        return command("flash-doctor fix --python {}", Path(python))
    return command("flash-doctor check --python {}", Path(python))


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
    plan, folder = f"plan-{number}.json", f"bundle-{number}"
    lines = (
        command("flash-doctor plan --for {} --json > {}", Path(report), plan),
        command("flash-doctor bundle {} --plan {} --for {}", folder, plan, Path(report)),
        command("flash-doctor fix --bundle {} --python {}   # on each of them", folder, Path(group[0].python)),
    )
    return SharedPlan(nodes=tuple(node.name for node in group), report=report, commands=all_or_none(lines))
