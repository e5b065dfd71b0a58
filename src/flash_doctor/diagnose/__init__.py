"""`diagnose`: every rule of the registry applied to one Environment. Pure: reads values, runs nothing, writes nothing.

A rule is added by writing a `@check` function in any module of this folder; the modules are found by listing it.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from flash_doctor.diagnose.registry import REGISTRY, Check, Result, all_checks
from flash_doctor.diagnose.score import score
from flash_doctor.model import Environment, Family, Finding, Report, Severity, Target
from flash_doctor.system.commands import OURS, Program, addressed

if TYPE_CHECKING:
    from collections.abc import Collection

    from flash_doctor.facts import Facts

_SEVERITIES = tuple(Severity)
# From the ground up: a cause lies before what it breaks.
_CAUSES_FIRST = tuple(Family)


def load_rules() -> None:
    """Import every module of this folder, so that its rules are in the registry."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


def chosen_checks(*, host_only: bool = False, only: Collection[Family] = ()) -> list[Check]:
    """The checks that are made: all, those of the machine alone (`host_only`), those of the families in `only`."""
    load_rules()
    families = only or Family
    return [check for check in all_checks() if check.family in families and (check.host_only or not host_only)]


def parts_read(checks: Collection[Check]) -> set[str]:
    """The parts of an Environment that these checks read."""
    return {name for check in checks for name in check.parameters} - {"facts"}


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

    Findings come by severity, then from the ground up (host before driver before torch), then by code. `program` is
    how the user calls the doctor: remedies name our own commands by it, and the target as it was typed.
    """
    results = [check.apply(environment, facts) for check in chosen_checks(host_only=host_only, only=only)]
    python = None if host_only else target.given or target.python
    found = sorted((finding for result in results for finding in result.findings), key=_order)
    return Report(
        target=target,
        environment=environment,
        findings=addressed(found, python, program),
        unchecked=tuple(result.unchecked for result in results if result.unchecked),
        score=score(results),
        only=only,
    )


def _order(finding: Finding) -> tuple[int, int, str, str]:
    family = REGISTRY[finding.code].family
    return (_SEVERITIES.index(finding.severity), _CAUSES_FIRST.index(family), finding.code, finding.subject)


__all__ = ["Result", "chosen_checks", "diagnose", "load_rules", "parts_read"]
