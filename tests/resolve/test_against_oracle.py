"""Machines drawn at random: the resolver agrees with the oracle on whether a wheel exists, and on what is nearest."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from flash_doctor.model import Goal
from flash_doctor.model.plan import Alternative, Install, Move, NoPlan, Plan
from flash_doctor.resolve import resolve
from seats import described, draw, facts, torch_builds, wheels
from wheel_oracle import Machine, wheels_for

DRAWS = 25


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


@pytest.mark.parametrize("seed", range(6))
def test_a_wheel_is_found_whenever_one_exists(seed: int) -> None:
    chance = random.Random(seed)
    found = 0
    for _ in range(DRAWS):
        here, words = draw(chance)
        answer = resolve(Goal(), described(words), wheels(), facts())
        existing = wheels_for(here)
        assert isinstance(answer, Plan) == bool(existing), words
        if isinstance(answer, Plan):
            found += 1
            assert answer.wheel is not None
            family, wheel = answer.wheel.family, answer.wheel
            assert any(
                (row["publisher"], row["local"], row["release"], row["version"], row["platform"])
                == (family.publisher, family.local, family.release, str(family.version), family.platform)
                and row["tag"].split("-")[0] in {wheel.python, wheel.abi}
                for row in existing
            ), words
    assert 0 < found < DRAWS


@pytest.mark.parametrize("seed", range(100, 104))
def test_the_nearest_torch_is_valid_and_no_other_is_nearer(seed: int) -> None:
    chance = random.Random(seed)
    judged = 0
    while judged < 6:
        here, words = draw(chance)
        answer = resolve(Goal(), described(words), wheels(), facts())
        if isinstance(answer, NoPlan):
            judged += 1
            for move in (Move.TORCH, Move.CUDA):
                offered = [one for one in answer.alternatives if one.move is move]
                distances = reachable(here, same_major=move is Move.TORCH)
                assert bool(offered) == bool(distances), words
                if offered:
                    assert away(here, torch_of(offered[0])) == min(distances), words


def torch_of(alternative: Alternative) -> tuple[int, int]:
    step = next(step for step in alternative.steps if step.name == "torch")
    assert isinstance(step, Install)
    major, minor = step.requirement.removeprefix("torch==").split(".")[:2]
    return int(major), int(minor)


def away(here: Machine, torch: tuple[int, int]) -> int:
    minors = sorted({(release.version.major, release.version.minor) for release, _ in torch_builds()})
    assert here.torch is not None
    return abs(minors.index(torch) - minors.index(here.torch))


def reachable(here: Machine, *, same_major: bool) -> list[int]:
    """Distances of every torch that runs on the machine and for which the oracle knows a wheel."""
    assert here.cuda is not None
    assert here.python is not None
    found = []
    for release, build in torch_builds():
        minor = release.version.major, release.version.minor
        cuda = build.cuda.major, build.cuda.minor
        if (cuda[0] == here.cuda[0]) != same_major or "cp" + here.python.replace(".", "") not in release.pythons:
            continue
        moved = replace(here, torch=minor, cuda=cuda, cxx11abi=build.cxx11abi)
        if torch_runs(here, cuda, build.glibc.release[:2], build.code) and wheels_for(moved):
            found.append(away(here, minor))
    return found


def torch_runs(here: Machine, cuda: tuple[int, int], glibc: tuple[int, ...], code: object) -> bool:
    assert isinstance(code, dict)
    floor = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580,)}[cuda[0]]
    if here.machine not in code or (here.glibc or (9,)) < glibc or (here.driver or (999,)) < floor:
        return False
    inside = code[here.machine]
    assert here.gpu is not None
    return inside is None or any(
        (gpu.major, gpu.minor) == here.gpu
        or (gpu.major == here.gpu[0] and gpu.minor <= here.gpu[1] and here.gpu not in {(8, 7), (11, 0)})
        for gpu in inside.sass
    ) or any((gpu.major, gpu.minor) <= here.gpu for gpu in inside.ptx)  # fmt: skip
