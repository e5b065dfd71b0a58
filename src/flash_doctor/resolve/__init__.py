"""`resolve(goal, environment, wheels, facts) -> Plan | NoPlan`: pure, total, quick.

Wheels are enumerated, refused with one axis each, ranked. When none is left the search goes outward, one change
at a time; a change that the goal allows becomes the plan, the others are reported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.model import Absent
from flash_doctor.model.plan import Alternative, Move, NoPlan, Plan
from flash_doctor.resolve.alternatives import Search, outward, torch_alternative
from flash_doctor.resolve.axes import SortedWheels, judge
from flash_doctor.resolve.constraints import take_seat
from flash_doctor.resolve.describe import describe
from flash_doctor.resolve.goal import read_goal
from flash_doctor.resolve.index_query import Lookup, settle
from flash_doctor.resolve.rank import rank, reasons
from flash_doctor.resolve.sources.live import load_live
from flash_doctor.resolve.sources.matrix import Wheels, load_wheels
from flash_doctor.resolve.steps import torch_steps, wheel_steps
from flash_doctor.resolve.torch_change import TorchMove, newest, newest_choice, torch_choices, torch_moves
from flash_doctor.system.commands import command

if TYPE_CHECKING:
    from flash_doctor.facts import Facts
    from flash_doctor.model import CommandLine, Environment, Goal

__all__ = ["Lookup", "Wheels", "describe", "load_wheels", "resolve", "settle"]


def resolve(goal: Goal, environment: Environment, wheels: Wheels, facts: Facts) -> Plan | NoPlan:
    """The smallest change that reaches the goal, or the nearest solutions.

    Raises:
        BadInput: a goal that cannot be read or contradicts itself.
    """
    return _Resolution(goal, environment, wheels, facts).answer()


class _Resolution:
    """One goal on one machine."""

    def __init__(self, goal: Goal, environment: Environment, wheels: Wheels, facts: Facts) -> None:
        self.goal, self.environment, self.facts = goal, environment, facts
        self.wish = read_goal(goal)
        taken = take_seat(environment, facts, self.wish)
        self.seat, self.notes = taken.seat, taken.notes
        self.verdict: SortedWheels = judge(wheels, self.seat)

    def answer(self) -> Plan | NoPlan:
        if self.wish.torch is not None and not self._torch_is_there():
            return self._with_new_torch()
        if isinstance(self.environment.torch, Absent):
            return self._no_torch()
        if self.wish.flash is None:
            return Plan(goal=self.goal, steps=(), because=("the torch that is wanted is there", *self.notes))
        best = rank(self.verdict.fitting, self.seat)
        if best:
            return self._plan(
                steps=wheel_steps(best[0], self.environment),
                because=reasons(best[0], self.seat),
                candidates=best[1:],
            )
        return self._outward()

    def _torch_is_there(self) -> bool:
        torch, wanted = self.seat.torch, self.wish.torch
        return torch is not None and wanted is not None and wanted.contains(torch.version, prereleases=True)

    def _plan(self, **parts: object) -> Plan:
        plan = Plan(goal=self.goal, rejected=self.verdict.nearest_first(), **parts)  # type: ignore[arg-type]
        return replace(plan, because=(*plan.because, *self.notes))

    def _no_plan(
        self, why: str, alternatives: tuple[Alternative, ...] = (), shows: CommandLine | None = None
    ) -> NoPlan:
        return NoPlan(
            goal=self.goal,
            because=(why, *self.notes),
            rejected=self.verdict.nearest_first(),
            alternatives=alternatives,
            command=shows,
        )

    def _no_torch(self) -> NoPlan:
        moves = newest(torch_moves(self.seat, self.verdict, self.facts))
        found = tuple(torch_alternative(self._search(), move, Move.TORCH) for move in moves[:1])
        wanted = command("flash-doctor plan --want torch --want {}", self.wish.flash or "flash-attn")
        return self._no_plan(
            "torch is not installed, and flash-attn belongs to one torch", alternatives=found, shows=wanted
        )

    def _with_new_torch(self) -> Plan | NoPlan:
        """Torch is wanted and another one, or none, is there."""
        if self.wish.flash is None:
            return self._torch_alone()
        moves = newest(torch_moves(self.seat, self.verdict, self.facts))
        if not moves:
            why = f"no torch {self.wish.torch} that this machine runs has a {self.wish.flash} wheel"
            return self._no_plan(why, alternatives=outward(self._search()))
        return self._torch_and_wheel(moves)

    def _torch_and_wheel(self, moves: tuple[TorchMove, ...]) -> Plan:
        best = moves[0]
        seat = replace(self.seat, torch=best.torch.seat_torch)
        steps = torch_steps(best.torch, self.environment, self.facts)
        return self._plan(
            steps=(*steps, *wheel_steps(best.wheel, self.environment)),
            because=(_chosen(best), *reasons(best.wheel, seat)),
            candidates=tuple(move.wheel for move in moves[1:] if move.torch == best.torch),
        )

    def _torch_alone(self) -> Plan | NoPlan:
        choices = sorted(torch_choices(self.seat, self.facts), key=newest_choice)
        if not choices:
            return self._no_plan(f"no torch {self.wish.torch} runs on this machine")
        steps = torch_steps(choices[0], self.environment, self.facts)
        return self._plan(steps=steps, because=(f"torch {choices[0].version} is the newest that runs here",))

    def _search(self) -> Search:
        live = load_live(self.facts.folder / "wheels" / "sources.toml")
        return Search(seat=self.seat, verdict=self.verdict, environment=self.environment, facts=self.facts, live=live)

    def _outward(self) -> Plan | NoPlan:
        found = outward(self._search())
        why = f"no {self.wish.flash} wheel fits this machine as it is"
        if self.seat.torch and self.seat.torch.vendor:
            why += f": torch is {self.seat.torch.vendor}'s own build, leave it and the flash-attn that came with it"
        allowed = next((one for one in found if one.move in self.wish.allow and one.possible and one.steps), None)
        if allowed is None:
            return self._no_plan(why, alternatives=found)
        manual = allowed.change if allowed.move in {Move.DRIVER, Move.PYTHON} else ()
        because = (why, *allowed.change)
        others = tuple(one for one in found if one is not allowed)
        return self._plan(steps=allowed.steps, because=because, alternatives=others, manual=manual, move=allowed.move)


def _chosen(move: TorchMove) -> str:
    support = "the driver supports in full" if move.torch.full else "the driver runs by minor-version compatibility"
    return f"torch {move.torch.version} is the newest with a wheel; {support} its CUDA {move.torch.cuda}"
