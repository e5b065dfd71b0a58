"""Requirement lines, names and versions as the specifications have them: the one place that reads a requirement.

Lines come from METADATA, from files of the user's, from plans and indexes, so each is a claim: what does not fit the
grammar is refused, and a marker is evaluated for the Python that is given, never for the one that runs.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from flash_doctor.errors import BadInput
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LONGEST = 4096  # characters of a line: below the 4,300 digits that Python turns into a number

# PEP 508, for ASCII alone: packaging's own expression takes the Kelvin sign for a K, and a last line feed for nothing
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")

# The shapes that nearly every line has. packaging reads them alike (tests/system compares), but costs 14 microseconds
# a line and 10 ms to import, and an environment has thousands of lines.
_SPACE = r"[ \t]*"
_RELEASE = r"[0-9]+(?:\.[0-9]+)*"
_SUFFIX = r"(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?"
_CLAUSE = (
    rf"(?:(?:[=!]={_SPACE}{_RELEASE}(?:\.\*|{_SUFFIX}))|(?:[<>]=?{_SPACE}{_RELEASE}{_SUFFIX})"
    rf"|(?:~={_SPACE}[0-9]+(?:\.[0-9]+)+{_SUFFIX}))"
)
_CLAUSES = rf"{_CLAUSE}(?:{_SPACE},{_SPACE}{_CLAUSE})*"
_QUICK = re.compile(
    rf"(?P<name>{_NAME.pattern}){_SPACE}(?:\[{_SPACE}(?P<extras>{_NAME.pattern}(?:{_SPACE},{_SPACE}{_NAME.pattern})*)"
    rf"{_SPACE}\]{_SPACE})?(?:(?P<bare>{_CLAUSES})|\({_SPACE}(?P<enclosed>{_CLAUSES}){_SPACE}\))?{_SPACE}"
    r"(?:;(?P<marker>.+))?"
)
_SPACES = re.compile(r"[ \t]+")
_STRING = re.compile(r"'[^']*'|\"[^\"]*\"")
_EXTRA = re.compile(r"\bextra\b")
# what the given environment does not say is not taken from the Python that runs
_NOTHING_KNOWN = dict.fromkeys(
    (
        "extra",
        "implementation_name",
        "implementation_version",
        "os_name",
        "platform_machine",
        "platform_python_implementation",
        "platform_release",
        "platform_system",
        "platform_version",
        "python_full_version",
        "python_version",
        "sys_platform",
    ),
    "",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement: `extras` normalised, `specifier` as `>=1,<2` ("" for any version), `url` of `name @ url`.

    `marker` is the text behind the `;`, "" where there is none.
    """

    name: NormalizedName
    extras: tuple[NormalizedName, ...] = ()
    specifier: str = ""
    url: str | None = None
    marker: str = ""

    @property
    def of_extra(self) -> bool:
        """Whether the marker asks for an extra, whatever else it asks for."""
        return bool(self.marker) and bool(_EXTRA.search(_STRING.sub("", self.marker)))

    def holds(self, markers: Mapping[str, str] | None, extra: str = "") -> bool:
        """Whether the marker holds in that marker environment, with that extra asked for.

        Of an environment that is not known (None) it is only said that no extra was asked for. A marker that cannot be
        read, or compares what cannot be compared, holds not.
        """
        if not self.marker:
            return True
        if markers is None:
            return not self.of_extra
        return _evaluated(self.marker, (*sorted(markers.items()), ("extra", extra)))

    def admits(self, version: Version) -> bool:
        """Whether the version is allowed; a pre-release counts as its version, a local label (+cu128) is ignored."""
        return not self.specifier or specifiers(self.specifier).contains(version, prereleases=True)

    @property
    def bare(self) -> str:
        """The requirement without its marker, in normal form."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.name}{extras}" + (f" @ {self.url}" if self.url else self.specifier)


def parse(line: str) -> Requirement:
    """The requirement of one line (PEP 508, or with the parentheses of old metadata).

    Raises:
        BadInput: it is none; nothing of a line that long is repeated.
    """
    requirement = _parse(line)
    if requirement is None:
        raise _why_not(line)
    if requirement.marker:
        _check_marker(requirement.marker)
    return requirement


def holds(marker: str, markers: Mapping[str, str]) -> bool:
    """Whether a marker holds in that marker environment, where no extra is asked for.

    Raises:
        BadInput: it cannot be read.
    """
    _check_marker(marker)
    return _evaluated(marker, (*sorted(markers.items()), ("extra", "")))


def readable(lines: Iterable[str]) -> Iterator[Requirement]:
    """The requirements among the lines of somebody's metadata; what cannot be read asks for nothing, as for pip."""
    return (requirement for line in lines if (requirement := _parse(line)))


def valid_name(text: str) -> NormalizedName:
    """The normalised name of a distribution.

    Raises:
        BadInput: it is no name by the specification: ASCII letters, digits, and `.`, `-`, `_` between them.
    """
    if len(text) > LONGEST or not _NAME.fullmatch(text):
        message = f"{cut(text, 80)!r} is no name of a distribution"
        raise BadInput(message)
    return _normalized(text)


def valid_version(text: str) -> Version:
    """The version.

    Raises:
        BadInput: it is none by the specification.
    """
    if len(text) <= LONGEST:
        with contextlib.suppress(InvalidVersion):
            return Version(text)
    message = f"{cut(text, 80)!r} is no version"
    raise BadInput(message)


@lru_cache(maxsize=4096)
def specifiers(text: str) -> SpecifierSet:
    """The specifier as a value, which packaging compares.

    Raises:
        BadInput: it is none.
    """
    if len(text) <= LONGEST:
        with contextlib.suppress(InvalidSpecifier):
            return SpecifierSet(text)
    message = f"{cut(text, 80)!r} is no version specifier"
    raise BadInput(message)


_normalized = lru_cache(maxsize=4096)(canonicalize_name)


@lru_cache(maxsize=16384)
def _parse(line: str) -> Requirement | None:
    """The requirement, its marker not looked at; None when the line is none."""
    if len(line) > LONGEST:
        return None
    quick = _QUICK.fullmatch(line.strip(" \t"))
    if quick is None:
        return _slowly(line)
    extras, specifier, marker = quick["extras"], quick["bare"] or quick["enclosed"] or "", quick["marker"] or ""
    return Requirement(
        name=_normalized(quick["name"]),
        extras=tuple(sorted({canonicalize_name(extra.strip()) for extra in extras.split(",")})) if extras else (),
        specifier=_SPACES.sub("", specifier),
        marker=marker.strip(),
    )


def _slowly(line: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement as Parsed

    try:
        parsed = Parsed(line)
        return Requirement(
            name=valid_name(parsed.name),
            extras=tuple(sorted(map(valid_name, parsed.extras))),
            specifier=str(parsed.specifier),
            url=parsed.url,
            marker=str(parsed.marker or ""),
        )
    except (InvalidRequirement, BadInput, RecursionError):
        return None


def _why_not(line: str) -> BadInput:
    """What packaging says of a line that is no requirement."""
    from packaging.requirements import InvalidRequirement, Requirement as Parsed

    if len(line) > LONGEST:
        return BadInput(f"a line of {len(line)} characters is no requirement")
    try:
        valid_name(Parsed(line).name)
    except (InvalidRequirement, BadInput, RecursionError) as error:
        return BadInput(f"{cut(line, 120)!r} is no requirement: {_first_line(error)}")
    return BadInput(f"{cut(line, 120)!r} is no requirement")


def _check_marker(marker: str) -> None:
    from packaging.markers import InvalidMarker, Marker

    try:
        Marker(marker)
    except (InvalidMarker, RecursionError) as error:
        message = f"the condition after ';' is not understood: {_first_line(error)}"
        raise BadInput(message) from error


def _first_line(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else cut(str(error).partition("\n")[0], 200)


@lru_cache(maxsize=4096)
def _evaluated(marker: str, environment: tuple[tuple[str, str], ...]) -> bool:
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

    try:
        return Marker(marker).evaluate({**_NOTHING_KNOWN, **dict(environment)})
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName, RecursionError):
        return False
