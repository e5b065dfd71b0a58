"""How a run is watched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`every` and `idle` in seconds, `red` a used share; `once`: what is there now; `until_red`: an error ends it."""

    every: float = 5.0
    red: float = 0.8
    idle: float = 3600.0
    once: bool = False
    until_red: bool = False
