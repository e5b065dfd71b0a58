"""The user's goal, parsed: which FlashAttention and which torch are wanted, what must stay, what may be changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from flash_doctor.errors import BadInput
from flash_doctor.model.plan import Move
from flash_doctor.system.requirement import parse, specifiers, valid_name

if TYPE_CHECKING:
    from flash_doctor.model import Goal

FLASH = ("flash-attn", "flash-attn-3", "flash-attn-4")
# FlashAttention 1 has another interface: it is meant only when a version of it is asked for
FIRST_GENERATION_TWO = Version("2")
ALLOWED = {
    "torch": {Move.TORCH, Move.CUDA},
    "cuda": {Move.CUDA},
    "build": {Move.BUILD},
    "python": {Move.PYTHON},
    "driver": {Move.DRIVER},
    "risky": {Move.NEIGHBOUR},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """`flash` is the distribution wanted (None: only torch is), `torch` the torch asked for (None: none)."""

    flash: NormalizedName | None
    specifier: SpecifierSet
    torch: SpecifierSet | None
    keep: frozenset[NormalizedName]
    allow: frozenset[Move]

    def admits(self, version: Version) -> bool:
        """Whether a version of the wanted FlashAttention is one that was asked for."""
        if not self.specifier and self.flash == "flash-attn":
            return version >= FIRST_GENERATION_TWO
        return self.specifier.contains(version, prereleases=True)


def read_goal(goal: Goal) -> Wish:
    """The goal as values.

    Raises:
        BadInput: a requirement that cannot be read, an allowance that does not exist, or wishes that contradict.
    """
    wanted = dict(_merge(goal.wanted))
    torch = wanted.pop(canonicalize_name("torch"), None)
    if len(wanted) > 1:
        message = f"{' and '.join(wanted)} are different products: ask for one of them"
        raise BadInput(
            message, advice="flash-attn is FlashAttention 2, flash-attn-3 is for Hopper, flash-attn-4 for Blackwell."
        )
    name, specifier = next(iter(wanted.items()), (None, SpecifierSet()))
    keep = frozenset(map(valid_name, goal.keep))
    if name in keep and specifier:
        message = f"{name} is asked for in another version and to be kept as it is"
        raise BadInput(message)
    return Wish(flash=name, specifier=specifier, torch=torch, keep=keep, allow=_allowed(goal.allow))


def _merge(wanted: tuple[str, ...]) -> dict[NormalizedName, SpecifierSet]:
    found: dict[NormalizedName, SpecifierSet] = {}
    for text in wanted:
        name, specifier = _requirement(text)
        found[name] = found.get(name, SpecifierSet()) & specifier
        _check_satisfiable(name, found[name])
    return found


def _requirement(text: str) -> tuple[NormalizedName, SpecifierSet]:
    try:
        asked = parse(text)
    except BadInput as error:
        raise BadInput(error.message, advice="Write it as in flash-attn==2.7.4.post1 or torch>=2.8.") from error
    if asked.name not in (*FLASH, "torch") or asked.url or asked.marker:
        message = f"{text!r} cannot be planned"
        raise BadInput(message, advice=f"Ask for torch, {', '.join(FLASH)}, each with a version or without.")
    return asked.name, specifiers(asked.specifier)


def _check_satisfiable(name: str, specifiers: SpecifierSet) -> None:
    """Two exact versions of one package exclude each other."""
    exact = {one.version for one in specifiers if one.operator == "==" and not one.version.endswith("*")}
    if len(exact) > 1 or any(not specifiers.contains(version, prereleases=True) for version in exact):
        message = f"no version of {name} is {specifiers}"
        raise BadInput(message, advice="Ask for one version.")


def _allowed(words: tuple[str, ...]) -> frozenset[Move]:
    unknown = [word for word in words if word not in ALLOWED]
    if unknown:
        message = f"{unknown[0]!r} is nothing that can be allowed"
        raise BadInput(message, advice=f"These can: {', '.join(ALLOWED)}.")
    return frozenset(move for word in words for move in ALLOWED[word])
