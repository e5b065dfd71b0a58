"""A consultation as styled lines: what would change, why, what was refused, what else there is, how old that is."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flash_doctor.model.plan import Axis, Build, Install, NoPlan, Remove, Risk
from flash_doctor.model.wheel import HashState
from flash_doctor.render.plan_document import choose
from flash_doctor.render.text import BLANK, Line, Span, Style, count, span
from flash_doctor.system.commands import in_sentence, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flash_doctor.model.plan import Alternative, Consultation, Knowledge, Plan, Rejection, Step

NEAREST = 3
_STALE_DAYS = 60
# with one of these options the plan is not one that `fix` would make here by itself
_ELSEWHERE = {"--for", "--stack", "--gpu", "--driver", "--torch", "--python-version", "--glibc", "--machine"}
_RISK = {Risk.SAFE: Style.GOOD, Risk.CAUTIOUS: Style.WARN, Risk.RISKY: Style.BAD}
_HASH = {
    HashState.PINNED: "sha256 pinned in the doctor's facts",
    HashState.PUBLISHED: "sha256 by its publisher",
    HashState.FIRST_SEEN: "no sha256 is published: it is shown and asked for when it is first downloaded",
    HashState.CLAIMED: "sha256 named by the plan file alone: nobody else vouches for it",
}


def plan_lines(consultation: Consultation, *, every: bool = False) -> Iterator[Line]:
    """The whole answer, what matters first; `every` tells all refusals instead of the nearest."""
    answer = consultation.answer
    yield _headline(answer)
    yield _item(f"for {consultation.machine}", Style.DIM)
    if not isinstance(answer, NoPlan):
        yield from _steps(answer, consultation)
    told_above = isinstance(answer, NoPlan) or not answer.steps
    yield from _section("Also" if told_above else "Why", answer.because[1:] if told_above else answer.because)
    yield from _section("Asked", consultation.why)
    yield from _section("Look at this as well", consultation.notes, Style.WARN)
    yield from _refused(consultation.rejected, every=every)
    yield from _alternatives(consultation)
    yield from _next(consultation)
    yield BLANK
    yield from _age(consultation.knowledge)


def _headline(answer: Plan | NoPlan) -> Line:
    if isinstance(answer, NoPlan):
        return Line((Span("No plan", Style.BAD), span(f": {answer.because[0]}.")))
    if not answer.steps and not answer.manual:
        return Line((Span("Nothing to do", Style.GOOD), span(f": {answer.because[0]}.")))
    sizes = [step.size for step in answer.steps if isinstance(step, Install)]
    known = sum(size for size in sizes if size)
    least = "at least " if None in sizes else ""
    weight = f", {least}{size_text(known)} to download" if known else ""
    steps = count(len(answer.steps), "step")
    return Line((Span("Plan", Style.GOOD), span(f": {steps}{weight}; nothing else changes.")))


def size_text(size: int | None) -> str:
    """Bytes for people, in powers of 1000 as publishers give them."""
    if size is None:
        return "size not known"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _item(text: str, style: Style = Style.PLAIN) -> Line:
    return Line((span(text, style),), first="  ", rest="  ")


def _section(title: str, lines: Iterable[str], style: Style = Style.STRONG) -> Iterator[Line]:
    told = tuple(lines)
    if told:
        yield BLANK
        yield Line((Span(title, style),))
    for text in told:
        yield Line((span(text),), first="  - ", rest="    ")


def _steps(plan: Plan, consultation: Consultation) -> Iterator[Line]:
    for number, text in enumerate(plan.manual, 1):
        yield Line((span(f"first, by hand: {text}", Style.WARN),), first=f"  {number}. ", rest="     ")
    for number, step in enumerate(plan.steps, 1):
        yield BLANK
        yield Line(tuple(_title(step, consultation)), first=f"{number:>3}  ", rest="     ")
        for label, text in _details(step):
            yield Line((span(f"{label:<6}", Style.DIM), span(text)), first="     ", rest=" " * 11)


def _title(step: Step, consultation: Consultation) -> Iterator[Span]:
    word = "remove" if isinstance(step, Remove) else "build" if isinstance(step, Build) else "install"
    yield Span(f"{word} ", Style.STRONG)
    version = "" if isinstance(step, Remove) else step.requirement.removeprefix(step.name).removeprefix("==")
    yield span(f"{step.name} {version}".strip(), Style.STRONG)
    there = consultation.now.get(step.name)
    if there:
        yield span(f" (now {there})", Style.DIM)


def _details(step: Step) -> Iterator[tuple[str, str]]:
    if isinstance(step, Install):
        yield "from", _source(step)
    if isinstance(step, Install) and step.url is not None:
        yield "hash", hash_text(step.sha256, step.hash_state, step.url or "")
    if isinstance(step, Build):
        yield "cost", f"about {step.minutes} min with {count(step.jobs, 'job')}, {size_text(step.memory)} of memory"
        yield "with", " ".join(f"{name}={value}" for name, value in step.settings)
    yield "why", step.because


def _source(step: Install) -> str:
    if step.url is None:
        where = ", ".join(step.indexes) or "the package index"
        return f"{where}; file and hash are still open"
    parts = urlsplit(step.url)
    place = parts.hostname or parts.path.rpartition("/")[0]
    publisher = f"{step.wheel.family.publisher}, " if step.wheel else ""
    return f"{publisher}{place}, {size_text(step.size)}"


def hash_text(sha256: str | None, state: HashState, source: str) -> str:
    """The hash of a file at the address `source`, and who vouches for it."""
    if sha256 is None:
        return _HASH[HashState.FIRST_SEEN]
    its_own = is_local(source) and state is not HashState.CLAIMED
    return f"{sha256[:12]}…, {'sha256 of that very file' if its_own else _HASH[state]}"


def is_local(url: str) -> bool:
    """A file of this machine: its hash is its own, and nobody else's word."""
    return urlsplit(url).scheme == "file"


def _refused(rejected: tuple[Rejection, ...], *, every: bool) -> Iterator[Line]:
    if not rejected:
        return
    counts = Counter(refusal.axis for refusal in rejected)
    yield BLANK
    yield Line((Span(f"Refused: {count(len(rejected), 'wheel')}", Style.STRONG), span(", by the first fault of each")))
    rows = [f"{counts[axis]:>6}  {axis.value}" for axis in Axis if counts[axis]]
    half = -(-len(rows) // 2)
    for left, right in zip(rows[:half], [*rows[half:], ""], strict=False):
        yield Line((span(f"{left:<36}{right}".rstrip()),), verbatim=True)
    shown = rejected if every else tuple(_telling(rejected))
    yield _item("all of them:" if every else "the nearest (--all tells the rest):", Style.DIM)
    for refusal in shown:
        yield Line((span(f"{refusal.axis.value}: ", Style.WARN), span(refusal.why)), first="  - ", rest="    ")
        yield Line((span(refusal.wheel.filename, Style.DIM),), first="    ", verbatim=True)


def _telling(rejected: tuple[Rejection, ...]) -> Iterator[Rejection]:
    """The nearest refusals that say something different, one wheel for each reason."""
    told: set[str] = set()
    for refusal in rejected:
        if len(told) < NEAREST and refusal.why not in told:
            told.add(refusal.why)
            yield refusal


def _alternatives(consultation: Consultation) -> Iterator[Line]:
    ways = consultation.answer.alternatives
    if not ways:
        return
    yield BLANK
    yield Line((Span("Other ways, the nearest first", Style.STRONG),))
    for number, way in enumerate(ways, 1):
        yield from _way(number, way, consultation)


def _way(number: int, way: Alternative, consultation: Consultation) -> Iterator[Line]:
    risk = way.risk.value if way.possible else "not possible here"
    style = _RISK[way.risk] if way.possible else Style.DIM
    yield Line((span(way.change[0], Style.STRONG), span(f"  [{risk}]", style)), first=f"{number:>3}  ", rest="     ")
    for text in way.change[1:]:
        yield Line((span(text),), first="     - ", rest="       ")
    if way.cost:
        yield Line((span("cost  ", Style.DIM), span(way.cost)), first="     ", rest=" " * 11)
    chosen = choose(consultation, way)
    if chosen:
        yield Line((span(chosen, Style.COMMAND),), first="     ", verbatim=True)


def _next(consultation: Consultation) -> Iterator[Line]:
    answer = consultation.answer
    own = consultation.command
    at = own.index("plan") if "plan" in own else 1
    here = _ELSEWHERE.isdisjoint(own)
    if isinstance(answer, NoPlan) and answer.command:
        text: str = answer.command
    elif not isinstance(answer, NoPlan) and answer.steps and here:
        text = in_sentence(words(*own[:at], "fix", *own[at + 1 :]))
    elif not isinstance(answer, NoPlan) and answer.steps:
        asked = in_sentence(words(*own, "--json", "--output", "plan.json"))
        there = in_sentence(words(*own[:at], "fix", "--plan", "plan.json"))
        yield BLANK
        yield Line((Span("Next: "), span(asked, Style.COMMAND)), verbatim=True)
        yield Line((Span("there: "), span(there, Style.COMMAND)), verbatim=True)
        return
    else:
        return
    yield BLANK
    yield Line((Span("Next: "), span(text, Style.COMMAND)), verbatim=True)


def _age(knowledge: Knowledge) -> Iterator[Line]:
    days = _days(knowledge.newest)
    old = days is not None and days > _STALE_DAYS
    since = "" if days is None else f" ({count(days, 'day')} old)"
    told = f"Facts: shipped {knowledge.shipped}"
    told += f", refreshed {knowledge.refreshed}{since}" if knowledge.refreshed else f"{since}, never refreshed"
    told += "; newer ones: `flash-doctor matrix refresh`" if old else ""
    yield Line((span(told, Style.WARN if old else Style.DIM),))
    for warning in knowledge.warnings:
        yield Line((span(warning, Style.WARN),))


def _days(date: str) -> int | None:
    try:
        return max(0, (datetime.date.today() - datetime.date.fromisoformat(date)).days)
    except ValueError:
        return None
