"""What `plan` answers: the plan or the lack of one, for which machine, from how old facts, and what was not settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flash_doctor.model.plan import NoPlan, Plan, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """How old the facts are: `shipped` and `refreshed` are dates (ISO; refreshed is None without an overlay).

    `warnings` say why an overlay is not used, or only in part.
    """

    shipped: str
    refreshed: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def newest(self) -> str:
        return max(self.shipped, self.refreshed or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consultation:
    """One answer of `plan`.

    `machine` says for which machine it is, `command` is the command line that asked, to which the choice of an
    alternative is added; `now` maps a distribution to the version that is there, `why` answers `--why`;
    `notes` is what stays wrong or unsettled beside the plan.
    """

    answer: Plan | NoPlan
    machine: str
    command: tuple[str, ...]
    knowledge: Knowledge
    now: Mapping[str, str]
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rejected(self) -> tuple[Rejection, ...]:
        return self.answer.rejected
