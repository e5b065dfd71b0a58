"""`--why WHEEL`: why this wheel is the plan, why it is not, or that nobody knows it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING
from urllib.parse import unquote

from flash_doctor.errors import BadInput
from flash_doctor.model.plan import Plan
from flash_doctor.resolve.rank import deciding_term

if TYPE_CHECKING:
    from flash_doctor.model.plan import NoPlan
    from flash_doctor.model.wheel import Wheel
    from flash_doctor.resolve.axes import Seat
    from flash_doctor.resolve.sources.matrix import Wheels


def why(answer: Plan | NoPlan, wanted: str, wheels: Wheels, seat: Seat) -> tuple[str, ...]:
    """One sentence for every wheel of that file name (a publisher may have it in two releases).

    Args:
        answer: what was resolved.
        wanted: a file name or an address.
        wheels: all that are known.
        seat: the one that was resolved for.

    Raises:
        BadInput: no such wheel is known; the advice names the most similar ones.
    """
    name = unquote(wanted.rstrip("/").rpartition("/")[2])
    if name not in wheels.names:
        near = difflib.get_close_matches(name, wheels.names, n=3)
        message = f"no publisher in the matrix has {name}"
        raise BadInput(
            message, advice=f"Near it: {', '.join(near)}." if near else "`flash-doctor matrix show` lists them."
        )
    refused = {id(one.wheel): one for one in answer.rejected}
    lines = []
    for wheel in wheels.names[name]:
        refusal = refused.get(id(wheel))
        place = f"{name} ({wheel.family.publisher} {wheel.family.release})"
        lines.append(
            f"{place}: {refusal.axis.value}: {refusal.why}" if refusal else f"{place}: {_fits(wheel, answer, seat)}"
        )
    return tuple(lines)


def _fits(wheel: Wheel, answer: Plan | NoPlan, seat: Seat) -> str:
    """A wheel that was not refused: chosen, second to the chosen one by some term, or of another product."""
    chosen = answer.wheel if isinstance(answer, Plan) else None
    if wheel == chosen:
        return "this is the one that is planned"
    if chosen is None or wheel.name != chosen.name:
        return "another product than the one that is wanted"
    term = deciding_term(chosen, wheel, seat)
    return f"it fits, but {chosen.filename} is better: {term}"
