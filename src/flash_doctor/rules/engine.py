"""A rule is a function whose parameters name the parts of a context that it reads, and that yields what it found.

A part that is Unknown makes the rule Unchecked, and one that is Absent means "does not apply", unless the type of the
parameter admits it (`X | Absent`, `Part[X]`). What is asked only while the rule runs is opened with `need`. A rule
never says its own code, never calls another rule and never asks what another one found: `explains.py` has the table.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import Any, Generic, TypeVar, cast, get_args, overload

from flash_doctor.model import Absent, Finding, Remedy, Severity, Unchecked, Unknown

T = TypeVar("T")
D = TypeVar("D")
R = TypeVar("R", bound="Rule")
Function = Callable[..., Iterable[Any]]
F = TypeVar("F", bound=Function)
_REFUSED: Any = object()


class CouldNotLook(Exception):
    """Raised in a rule whose deciding detail cannot be known: the rule becomes Unchecked with this reason."""


@overload
def need(part: T | Absent | Unknown, what: str = ...) -> T: ...
@overload
def need(part: T | Absent | Unknown, what: str = ..., *, absent: D) -> T | D: ...
def need(part: Any, what: str = "", *, absent: Any = _REFUSED) -> Any:
    """The value of a detail that decides; `absent` stands for one that is not there, where that is an answer, too.

    Raises:
        CouldNotLook: it is Unknown, or it is Absent and that is no answer (`what` says why where the part does not).
    """
    if isinstance(part, Unknown):
        raise CouldNotLook(part.unknown)
    if not isinstance(part, Absent):
        return part
    if absent is _REFUSED:
        raise CouldNotLook(part.absent or what)
    return absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a rule found. The code is the rule's, and where it names no severity or remedy, those are its words', too.

    `about`: what else it is about beside its subject, in words that the table of explanations compares.
    """

    subject: str
    summary: str
    evidence: tuple[str, ...] = ()
    severity: Severity | None = None
    remedy: Remedy | None = None
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A finding, and what it is about for the table of explanations."""

    finding: Finding
    about: frozenset[str] = frozenset()


def tell(code: str, found: Found) -> Observed:
    """The finding of the rule with that code.

    Raises:
        ValueError: neither the rule nor its words give a severity.
    """
    if found.severity is None:
        message = f"{code} tells no severity"
        raise ValueError(message)
    finding = Finding(
        code=code,
        severity=found.severity,
        subject=found.subject,
        summary=found.summary,
        evidence=found.evidence,
        remedy=found.remedy,
    )
    return Observed(finding=finding, about=frozenset(found.about))


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One registered rule: its stable `code`, and the function. Each command adds what it chooses its rules by."""

    code: str
    function: Function

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of what it reads."""
        code = self.function.__code__
        return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @property
    def documentation(self) -> str:
        return inspect.getdoc(self.function) or ""

    @property
    def title(self) -> str:
        return self.documentation.partition("\n")[0]

    def worded(self, found: Any, given: Mapping[str, Any]) -> Found:
        """What the function yielded with the words that this command keeps elsewhere; as it is where it has none."""
        del given
        return cast("Found", found)

    def apply(self: R, parts: object, **given: object) -> Result[R]:
        """Run the rule, or say why it was not run. What is `given` by name is passed on as it is."""
        arguments = {}
        for name in self.parameters:
            value = given[name] if name in given else getattr(parts, name)
            if name not in given and isinstance(value, (Absent, Unknown)) and type(value) not in self._admitted(name):
                return self._not_run(value)
            arguments[name] = value
        return self._run(arguments, given)

    def _admitted(self, name: str) -> frozenset[object]:
        return _members(self.function.__annotations__.get(name), self.function.__globals__)

    def _not_run(self: R, part: Absent | Unknown) -> Result[R]:
        if isinstance(part, Absent):
            return Result(rule=self, applies=False)
        return Result(rule=self, unchecked=Unchecked(code=self.code, why=part.unknown))

    def _run(self: R, arguments: Mapping[str, object], given: Mapping[str, object]) -> Result[R]:
        told: list[Observed] = []
        try:
            for found in self.function(**arguments):
                told.append(tell(self.code, self.worded(found, given)))  # noqa: PERF401 what was found stays found
        except CouldNotLook as error:
            return Result(rule=self, told=tuple(told), unchecked=Unchecked(code=self.code, why=str(error)))
        return Result(rule=self, told=tuple(told))


_MEMBERS: dict[tuple[int, object], frozenset[object]] = {}


def _members(annotation: Any, names: dict[str, Any]) -> frozenset[object]:
    """The types that stand in a union; those of one module are written alike, and evaluated once."""
    key = id(names), annotation
    if key not in _MEMBERS:
        kind = eval(annotation, names) if isinstance(annotation, str) else annotation
        _MEMBERS[key] = frozenset(get_args(kind) or (kind,))
    return _MEMBERS[key]


@dataclass(frozen=True, kw_only=True)
class Result(Generic[R]):
    """What came of one rule: findings, or why it was not made; `applies` is False where it has no subject."""

    rule: R
    applies: bool = True
    told: tuple[Observed, ...] = ()
    unchecked: Unchecked | None = None

    @property
    def made(self) -> bool:
        return self.applies and self.unchecked is None

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(told.finding for told in self.told)

    def telling(self, told: Iterable[Observed]) -> Result[R]:
        """The same with other findings."""
        return replace(self, told=tuple(told))


class Registry(Mapping[str, R]):
    """The rules of one command by their codes, in the order of their modules: every module of one package."""

    def __init__(self, package: str) -> None:
        self._package, self._rules = package, dict[str, R]()

    def __getitem__(self, code: str) -> R:
        return self._rules[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def add(self, rule: R) -> None:
        """Take a rule in.

        Raises:
            ValueError: another one has its code.
        """
        if rule.code in self._rules:
            message = f"two rules are called {rule.code}"
            raise ValueError(message)
        self._rules[rule.code] = rule

    def load(self) -> None:
        """Import every module of the package, so that its rules are here."""
        for module in pkgutil.iter_modules(import_module(self._package).__path__):
            import_module(f"{self._package}.{module.name}")
