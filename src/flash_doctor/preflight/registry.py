"""`@rule`: registers a rule on the Inputs of a training run. Its words (title, why, what to do) stand in rules.toml.

Its parameters name parts of the Inputs (see `rules.engine`); `facts` gets the preflight facts, `inputs` all of it.
A rule tells what it found as `Found`; its severity and remedy are those of rules.toml where it names no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from flash_doctor.model import CommandLine, Severity
from flash_doctor.preflight.config import Dialect
from flash_doctor.rules import engine
from flash_doctor.rules.documentation import of_words
from flash_doctor.rules.engine import Registry, Result, Rule
from flash_doctor.system.commands import advice

if TYPE_CHECKING:
    from flash_doctor.facts.preflight import PreflightFacts, RuleText
    from flash_doctor.model.explanation import Meaning
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import Inputs

EVERY = frozenset(Dialect)
AXOLOTL = frozenset({Dialect.AXOLOTL})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFound:
    """What a rule found at a key; `evidence` follows the line of the file, which is added.

    `severity` and `remedy` replace those of rules.toml; `commands` can be typed; `about` is for `rules.explains`.
    """

    key: str
    summary: str
    evidence: tuple[str, ...] = ()
    severity: Severity | None = None
    remedy: str = ""
    commands: tuple[CommandLine | None, ...] = ()
    about: tuple[str, ...] = ()


F = TypeVar("F", bound=Callable[..., Iterable[KeyFound]])


def worded(found: KeyFound, text: RuleText, run: Run) -> engine.Found:
    """With the place in the configuration, and the words of rules.toml."""
    return engine.Found(
        subject=run.name(found.key),
        summary=found.summary,
        evidence=(*run.where(found.key), *found.evidence),
        severity=found.severity or text.severity,
        remedy=advice(found.remedy or text.remedy, *found.commands),
        about=found.about,
    )


@dataclass(frozen=True, kw_only=True)
class ConfigRule(Rule):
    """A rule of `preflight`: the frameworks it is about."""

    dialects: frozenset[Dialect]

    def judge(self, inputs: Inputs, facts: PreflightFacts) -> Result[ConfigRule]:
        """Run the rule where it is about the framework of this run."""
        if inputs.run.dialect not in self.dialects:
            return Result(rule=self, applies=False)
        return self.apply(inputs, facts=facts, inputs=inputs)

    def worded(self, found: Any, given: Mapping[str, Any]) -> engine.Found:
        return worded(found, given["facts"].rules[self.code], given["inputs"].run)


def meanings(facts: PreflightFacts) -> Iterator[Meaning]:
    """The page of every rule, by its code."""
    return (_meaning(code, text) for code, text in sorted(facts.rules.items()))


def _meaning(code: str, text: RuleText) -> Meaning:
    why = (f"Why: {text.why}",) if text.why != text.symptom else ()
    seen = f"What you see if nobody looks: {text.symptom}"
    return of_words(
        code,
        "preflight",
        text.title,
        (*why, seen, f"Usually told as: {text.severity.value}."),
        by_hand="the lines of the configuration that the finding names, against its evidence",
        to_do=text.remedy,
        source=str(text.source),
    )


RULES: Registry[ConfigRule] = Registry("flash_doctor.preflight.rules")


def rule(code: str, *, dialects: frozenset[Dialect] = EVERY) -> Callable[[F], F]:
    """Register a rule for configurations of these frameworks."""

    def register(function: F) -> F:
        RULES.add(ConfigRule(code=code, function=function, dialects=dialects))
        return function

    return register
