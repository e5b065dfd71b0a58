"""What holds for any machine: over the whole matrix, for machines that hypothesis draws."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from flash_doctor.model import Goal
from flash_doctor.model.plan import Axis, Move, NoPlan, Plan
from flash_doctor.resolve import Wheels, resolve
from flash_doctor.resolve.axes import QUESTIONS, fits_python
from flash_doctor.resolve.constraints import take_seat
from flash_doctor.resolve.goal import ALLOWED, read_goal
from seats import DRIVERS, GLIBCS, GPUS, PYTHONS, described, facts, torch_builds, wheels

WORDS = st.fixed_dictionaries(
    {},
    optional={
        "python_version": st.sampled_from(PYTHONS),
        "torch": st.sampled_from([f"{release.version}+{build.tag}" for release, build in torch_builds()]),
        "glibc": st.sampled_from([f"{major}.{minor}" for major, minor in GLIBCS]),
        "gpu": st.lists(st.sampled_from([f"sm_{a}{b}" for a, b in GPUS]), min_size=1, max_size=2).map(",".join),
        "machine": st.sampled_from(("x86_64", "aarch64")),
        "driver": st.sampled_from(DRIVERS),
    },
)
WANTED = st.sampled_from(("flash-attn", "flash-attn-3", "flash-attn-4", "flash-attn==2.7.4.post1", "flash-attn<2.7"))
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(words=WORDS, wanted=WANTED)
def test_the_wheel_of_a_plan_satisfies_every_axis(words: dict[str, str], wanted: str) -> None:
    environment, goal = described(words), Goal(wanted=(wanted,))
    answer = resolve(goal, environment, wheels(), facts())
    if isinstance(answer, Plan):
        seat = take_seat(environment, facts(), read_goal(goal)).seat
        for wheel in (answer.wheel, *answer.candidates):
            assert wheel is not None
            assert fits_python(wheel, seat) is None
            assert [axis for axis, question in QUESTIONS if question(wheel.family, seat)] == []


@quick
@given(words=WORDS, wanted=WANTED)
def test_every_wheel_is_chosen_runner_up_or_refused_for_an_axis_that_it_violates(
    words: dict[str, str], wanted: str
) -> None:
    environment, goal = described(words), Goal(wanted=(wanted,))
    wish = read_goal(goal)
    answer = resolve(goal, environment, wheels(), facts())
    asked_for = sum(wheel.name == wish.flash for wheel in wheels())
    fitting = (1 + len(answer.candidates)) if isinstance(answer, Plan) else 0
    assert len(answer.rejected) + fitting == asked_for
    seat = take_seat(environment, facts(), wish).seat
    questions = dict(QUESTIONS)
    for refusal in random.Random(0).sample(answer.rejected, min(200, len(answer.rejected))):
        if refusal.axis is Axis.PYTHON:
            assert fits_python(refusal.wheel, seat) == refusal.why
        else:
            assert fits_python(refusal.wheel, seat) is None
            assert questions[refusal.axis](refusal.wheel.family, seat) == refusal.why
            assert refusal.axis is refusal.axes[0]


@quick
@given(words=WORDS, allow=st.lists(st.sampled_from(sorted(ALLOWED)), max_size=3), more=st.sampled_from(sorted(ALLOWED)))
def test_an_allowance_never_makes_a_plan_worse(words: dict[str, str], allow: list[str], more: str) -> None:
    environment = described(words)
    before = resolve(Goal(allow=tuple(allow)), environment, wheels(), facts())
    after = resolve(Goal(allow=(*allow, more)), environment, wheels(), facts())
    if isinstance(before, Plan):
        assert isinstance(after, Plan)
        assert cost(after) <= cost(before)


def cost(plan: Plan) -> int:
    """The place of its kind of change in the order of the search; less than any when nothing had to be allowed."""
    return -1 if plan.move is None else list(Move).index(plan.move)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    chance = random.Random(seed)
    groups = list(wheels().groups)
    chance.shuffle(groups)
    shuffled = Wheels(groups=tuple(groups))
    release, build = chance.choice(torch_builds())
    words = {"torch": f"{release.version}+{build.tag}", "python_version": chance.choice(PYTHONS)}
    for goal in (Goal(), Goal(allow=("torch",)), Goal(wanted=("torch", "flash-attn"))):
        environment = described(words)
        assert resolve(goal, environment, shuffled, facts()) == resolve(goal, environment, wheels(), facts())


@quick
@given(words=WORDS)
def test_without_torch_the_command_is_named(words: dict[str, str]) -> None:
    answer = resolve(Goal(), described({**words, "torch": "none"}), wheels(), facts())
    assert isinstance(answer, NoPlan)
    assert answer.command == "flash-doctor plan --want torch --want flash-attn"


def test_what_is_not_known_does_not_constrain() -> None:
    """Taking a fact away never loses a wheel that fitted."""
    words = {"torch": "2.8.0+cu128", "python_version": "3.12", "glibc": "2.31", "gpu": "sm_90", "driver": "525.60.13"}
    full = fitting(words)
    assert full
    for name in words:
        fewer = {key: value for key, value in words.items() if key != name}
        assert full <= fitting(fewer)
        answer = resolve(Goal(), described(fewer), wheels(), facts())
        assert any("rules nothing out" in line for line in answer.because)


def fitting(words: dict[str, str]) -> set[str]:
    answer = resolve(Goal(), described(words), wheels(), facts())
    assert isinstance(answer, Plan)
    assert answer.wheel is not None
    return {wheel.filename for wheel in (answer.wheel, *answer.candidates)}


def test_resolving_takes_time_in_proportion_to_the_rows() -> None:
    """Work is counted, not timed: each family is asked once, whatever the number of rows."""
    asked: list[int] = []
    for times in (1, 10):
        copies = [
            (replace(family, release=f"{family.release}-{number}"), members)
            for number in range(times)
            for family, members in wheels().groups[:200]
        ]
        answer = resolve(Goal(), described({"torch": "2.8.0+cu128"}), Wheels(groups=tuple(copies)), facts())
        asked.append(len(answer.rejected) + (len(answer.candidates) + 1 if isinstance(answer, Plan) else 0))
    assert asked[1] == 10 * asked[0]
