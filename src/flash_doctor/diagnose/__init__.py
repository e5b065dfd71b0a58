"""`diagnose`: every rule of the registry applied to one Environment. Pure: reads values, runs nothing, writes nothing.

A rule is added by writing a `@check` function in any module of this folder; the modules are found by listing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.diagnose.registry import CHECKS, GIVEN, Check, all_checks
from flash_doctor.model import Environment, Family, Finding, Report, Severity, Target
from flash_doctor.rules.documentation import of_docstring
from flash_doctor.rules.explains import TABLE
from flash_doctor.rules.score import WEIGHTS, score
from flash_doctor.system.commands import OURS, Program, addressed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from flash_doctor.facts import Facts
    from flash_doctor.model.explanation import Meaning

_SEVERITIES = tuple(Severity)
# From the ground up: a cause lies before what it breaks.
_CAUSES_FIRST = tuple(Family)


def load_rules() -> None:
    """Import every module of this folder, so that its rules are in the registry."""
    CHECKS.load()


def chosen_checks(*, host_only: bool = False, only: Collection[Family] = ()) -> list[Check]:
    """The checks that are made: all, those of the machine alone (`host_only`), those of the families in `only`."""
    load_rules()
    families = only or Family
    return [check for check in all_checks() if check.family in families and (check.host_only or not host_only)]


def meanings() -> Iterator[Meaning]:
    """The page of every check, by its code."""
    load_rules()
    return (of_docstring(check.code, check.family.value, check.function) for check in all_checks())


def parts_read(checks: Collection[Check]) -> set[str]:
    """The parts of an Environment that these checks read, and those that may explain what they find."""
    return {name for check in _with_causes(checks) for name in check.parameters} - GIVEN


def _with_causes(checks: Collection[Check]) -> list[Check]:
    return [CHECKS[code] for code in sorted(TABLE.behind({check.code for check in checks}))]


def diagnose(
    target: Target,
    environment: Environment,
    facts: Facts,
    *,
    host_only: bool = False,
    only: tuple[Family, ...] = (),
    program: Program = OURS,
) -> Report:
    """Apply the checks that `host_only` and `only` leave (see `chosen_checks`), and sort what they found.

    What explains a finding is looked at even where it is not told, so that the same is silent with `only`.
    Findings come by severity, then from the ground up (host before driver before torch), then by code. `program` is
    how the user calls the doctor: remedies name our own commands by it, and the target as it was typed.
    """
    chosen = chosen_checks(host_only=host_only, only=only)
    concluded = TABLE.concluded(check.apply(environment, facts=facts) for check in _with_causes(chosen))
    told = {check.code for check in chosen}
    results = [result for result in concluded if result.rule.code in told]
    python = None if host_only else target.given or target.python
    found = sorted((finding for result in results for finding in result.findings), key=_order)
    return Report(
        target=target,
        environment=environment,
        findings=addressed(found, python, program),
        unchecked=tuple(result.unchecked for result in results if result.unchecked),
        score=score(results, lambda check: (check.family, WEIGHTS[check.family][0])),
        only=only,
    )


def _order(finding: Finding) -> tuple[int, int, str, str]:
    family = CHECKS[finding.code].family
    return (_SEVERITIES.index(finding.severity), _CAUSES_FIRST.index(family), finding.code, finding.subject)


__all__ = ["chosen_checks", "diagnose", "load_rules", "meanings", "parts_read"]
