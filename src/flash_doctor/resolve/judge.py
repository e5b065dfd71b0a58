"""Every wheel of the wanted kind, judged: those that fit, and for each other one what it violates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.model.plan import Axis, Rejection
from flash_doctor.model.wheel import Wheel
from flash_doctor.resolve.axes import Seat, fits_python, violations

if TYPE_CHECKING:
    from flash_doctor.resolve.sources.matrix import Wheels

_PLACES = {axis: place for place, axis in enumerate(Axis)}

Axes = tuple[Axis, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Wheels that fit, and the refusals by the axes that they violate; each group newest first."""

    fitting: tuple[Wheel, ...]
    refused: Mapping[Axes, tuple[Rejection, ...]]

    def only(self, *axes: Axis) -> tuple[Wheel, ...]:
        """The refused wheels that violate nothing but these axes."""
        allowed = set(axes)
        groups = (group for violated, group in self.refused.items() if allowed.issuperset(violated))
        return tuple(refusal.wheel for group in groups for refusal in group)

    def nearest_first(self) -> tuple[Rejection, ...]:
        """Fewest violations first, then the axis that is told last, then the newest version."""
        order = sorted(self.refused, key=lambda axes: (len(axes), [-_PLACES[axis] for axis in axes]))
        return tuple(refusal for axes in order for refusal in self.refused[axes])


def judge(wheels: Wheels, seat: Seat) -> Verdict:
    """Ask every axis about every wheel of the wanted distribution; one pass, no wheel twice."""
    fitting: list[Wheel] = []
    refused: dict[Axes, list[Rejection]] = {}
    pythons: dict[tuple[str, str], str | None] = {}
    for family, members in wheels.newest_first:
        if family.dist != seat.wish.flash:
            continue
        failing = violations(family, seat)
        axes = tuple([axis for axis, _ in failing])
        every = (Axis.PYTHON, *axes)
        whole, by_python = refused.setdefault(axes, []), refused.setdefault(every, [])
        for wheel in members:
            tag = (wheel.python, wheel.abi)
            if tag not in pythons:
                pythons[tag] = fits_python(wheel, seat)
            why = pythons[tag]
            if why is not None:
                by_python.append(Rejection(wheel=wheel, axis=Axis.PYTHON, why=why, axes=every))
            elif failing:
                axis, reason = failing[0]
                whole.append(Rejection(wheel=wheel, axis=axis, why=reason, axes=axes))
            else:
                fitting.append(wheel)
    return Verdict(fitting=tuple(fitting), refused={axes: tuple(group) for axes, group in refused.items() if group})
