"""A comparison of nodes as lines and as a document; their names folded as Slurm writes them: `gpu[001-128,130]`."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from flash_doctor.model.fleet import Effect, FleetVerdict
from flash_doctor.render.text import BLANK, Line, Span, Style, clean, count, span
from flash_doctor.system.codec import encode
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flash_doctor.model.fleet import Comparison, Difference, NotKnown, Odd, SharedPlan, Sick, Usual


_NUMBERED = re.compile(r"(.*?)(\d{1,18})(\D*)", re.ASCII | re.DOTALL)


def fold(names: Iterable[str]) -> tuple[str, ...]:
    """The names in ranges over their last number, numbers of one width together; in the order of their names."""
    families: dict[tuple[str, str, int], set[int]] = {}
    plain = set()
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match:
            before, digits, after = match.groups()
            # 9 and 10 belong together, 09 and 10 too, but 9 and 09 are two names
            width = len(digits) if digits.startswith("0") or len(digits) == 1 else 0
            families.setdefault((before, after, width), set()).add(int(digits))
        else:
            plain.add(name)
    folded = [*plain, *(text for family in _joined(families) for text in family)]
    return tuple(sorted(folded))


def _joined(families: dict[tuple[str, str, int], set[int]]) -> Iterator[Iterator[str]]:
    """Numbers without a leading zero go to the padded ones of their length, else to those of any length."""
    loose = [key for key in families if key[2] == 0]
    for before, after, _ in loose:
        for number in sorted(families.pop((before, after, 0))):
            padded = (before, after, len(str(number)))
            home = padded if len(str(number)) > 1 and padded in families else (before, after, 1)
            families.setdefault(home, set()).add(number)
    for (before, after, width), numbers in families.items():
        yield _written(before, after, width, sorted(numbers))


def _written(before: str, after: str, width: int, numbers: list[int]) -> Iterator[str]:
    runs = list(_runs(numbers))
    if len(numbers) == 1:
        yield f"{before}{numbers[0]:0{width}d}{after}"
        return
    texts = [f"{a:0{width}d}" if a == b else f"{a:0{width}d}-{b:0{width}d}" for a, b in runs]
    yield f"{before}[{','.join(texts)}]{after}"


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbours in sorted numbers."""
    start = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield start, last
            start = number
        last = number
    yield start, last


def folded(names: Iterable[str], limit: int = 60) -> str:
    """The names as one text; what passes `limit` characters is counted instead."""
    names = tuple(clean(name) for name in names)
    texts = fold(names)
    whole = ", ".join(texts)
    if len(whole) <= limit:
        return whole
    cut = whole[:limit].rpartition(",")[0] or whole[:limit]
    return f"{cut}… ({len(names):,} {'node' if len(names) == 1 else 'nodes'})"


FLEET = "flash-doctor/fleet/1"

_SHOWN = {Effect.BREAKS: 4, Effect.SLOWS: 3, Effect.HARMLESS: 3}
_MAX_ROWS = 3
_MAX_COMMANDS = 3
_MAX_COMMAND = 200
_MAX_USUAL = 20
_MAX_VALUE = 60
_TITLE = {Effect.BREAKS: "Breaks a joint run", Effect.SLOWS: "Slows it", Effect.HARMLESS: "Harmless"}
_STYLE = {Effect.BREAKS: Style.BAD, Effect.SLOWS: Style.WARN, Effect.HARMLESS: Style.DIM}


def fleet_document(comparison: Comparison, exit_code: int) -> dict[str, Any]:
    """The document of `fleet compare` and `fleet check`."""
    body: dict[str, Any] = encode(comparison)
    return {"schema": FLEET, **body, "verdict": comparison.verdict.value, "exit_code": exit_code}


def fleet_lines(comparison: Comparison) -> Iterator[Line]:
    """The verdict, what is usual, what differs by its effect, and what to type where."""
    yield Line(tuple(_verdict(comparison)))
    yield from _usual(comparison)
    for effect in Effect:
        yield from _differences(effect, [each for each in comparison.differences if each.effect is effect])
    yield from _sick(comparison.sick)
    yield from _lost(comparison)
    yield from _not_known(comparison.not_known)
    yield from _odd(comparison.odd)
    yield from _plans(comparison.plans)


def _verdict(comparison: Comparison) -> Iterator[Span]:
    total = len(comparison.names) + sum(len(lost.nodes) for lost in comparison.lost)
    fleet = "1 node" if total == 1 else f"{total:,} nodes"
    word, style = {
        FleetVerdict.BROKEN: ("BROKEN", Style.BAD),
        FleetVerdict.WARNINGS: ("No error found, but look at this", Style.WARN),
        FleetVerdict.HEALTHY: ("Alike", Style.GOOD),
        FleetVerdict.UNKNOWN: ("UNKNOWN", Style.WARN),
    }[comparison.verdict]
    yield Span(f"{fleet}: ")
    yield Span(word, style)
    yield Span(f": {', '.join(_counts(comparison)) or 'nothing that matters to a joint run differs'}.")


def _counts(comparison: Comparison) -> Iterator[str]:
    for effect, what in ((Effect.BREAKS, "break a run"), (Effect.SLOWS, "slow it"), (Effect.HARMLESS, "do no harm")):
        number = sum(difference.effect is effect for difference in comparison.differences)
        if number:
            yield f"{count(number, 'difference')} that {what if number > 1 else _singular(what)}"
    sick = {name for each in comparison.sick for name in each.nodes}
    if sick:
        yield f"errors on {count(len(sick), 'node')}"
    lost = sum(len(each.nodes) for each in comparison.lost)
    if lost:
        yield f"no report from {count(lost, 'node')}"


def _singular(what: str) -> str:
    verb, _, rest = what.partition(" ")
    return f"{'does' if verb == 'do' else verb + 's'} {rest}"


def _heading(text: str, style: Style = Style.STRONG) -> Iterator[Line]:
    yield BLANK
    yield Line((Span(text, style),))


def _more(number: int, what: str) -> Iterator[Line]:
    if number > 0:
        yield Line((Span(f"and {count(number, what)} more: --json has them all", Style.DIM),), first="  ")


def _command(command: str) -> Line:
    """Whole or not at all: the beginning of a command is another command."""
    if len(clean(command)) > _MAX_COMMAND:
        return Line((Span("a command too long to be shown: --json has it", Style.DIM),), first="      ")
    return Line((span(command, Style.COMMAND),), first="      ", verbatim=True)


def short(text: str) -> str:
    """The beginning, with what could move the cursor spelt out, which makes it longer."""
    text = clean(text)
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"


def _usual(comparison: Comparison) -> Iterator[Line]:
    told = [usual for usual in comparison.usual if usual.value != "none" or usual.nodes < usual.known]
    if not told:
        return
    yield from _heading(f"As on {short(comparison.against)}" if comparison.against else "What most nodes have")
    width = max(len(usual.title) for usual in told[:_MAX_USUAL])
    for usual in told[:_MAX_USUAL]:
        yield _usual_row(usual, min(width, 32))
    yield from _more(len(told) - _MAX_USUAL, "row")


def _usual_row(usual: Usual, width: int) -> Line:
    share = "all" if usual.nodes == usual.known else f"{usual.nodes:,} of {usual.known:,}"
    style = Style.DIM if usual.nodes == usual.known else Style.WARN
    tie = "" if usual.majority else ", no majority"
    title = short(usual.title)
    return Line(
        (span(f"{title:<{width}}  ", Style.DIM), span(short(usual.value)), span(f"  ({share}{tie})", style)),
        first="  ",
        rest=" " * (width + 4),
    )


def _differences(effect: Effect, differences: Sequence[Difference]) -> Iterator[Line]:
    """Each with its nodes; why, once for those of one aspect."""
    if not differences:
        return
    yield from _heading(_TITLE[effect], _STYLE[effect])
    told: set[str] = set()
    for difference in differences[: _SHOWN[effect]]:
        yield Line(tuple(_difference(difference)), first="  ", rest="    ")
        if difference.why not in told and effect is not Effect.HARMLESS:
            yield Line((span(difference.why, Style.DIM),), first="    ", rest="    ")
        told.add(difference.why)
    yield from _more(len(differences) - _SHOWN[effect], "difference")


def _difference(difference: Difference) -> Iterator[Span]:
    yield span(folded(difference.nodes), Style.STRONG)
    yield span(f": {short(difference.title)} {short(difference.value)}", _STYLE[difference.effect])
    yield span(f", usual is {short(difference.usual)}")


def _sick(sick: Sequence[Sick]) -> Iterator[Line]:
    if not sick:
        return
    yield from _heading("Errors that the nodes' own checks found", Style.BAD)
    for each in sick[:_MAX_ROWS]:
        spans = (span(folded(each.nodes), Style.STRONG), span(f": {each.code} ", Style.BAD), span(short(each.summary)))
        yield Line(spans, first="  ", rest="    ")
        for command in each.commands[:1]:
            yield _command(command)
    yield from _more(len(sick) - _MAX_ROWS, "error")


def _lost(comparison: Comparison) -> Iterator[Line]:
    if not comparison.lost:
        return
    yield from _heading("No report", Style.WARN)
    for lost in comparison.lost[:_MAX_ROWS]:
        yield Line(
            (span(folded(lost.nodes), Style.STRONG), span(f": {cut(clean(lost.why), 160)}")), first="  ", rest="    "
        )
    yield from _more(len(comparison.lost) - _MAX_ROWS, "reason")


def _not_known(unknown: Sequence[NotKnown]) -> Iterator[Line]:
    """What could not be looked at, by its reason."""
    reasons: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for each in unknown:
        reasons.setdefault((each.why, each.nodes), []).append(each.title)
    if not reasons:
        return
    yield from _heading("Could not be compared", Style.WARN)
    for (why, nodes), titles in islice(reasons.items(), _MAX_ROWS):
        spans = (span(folded(nodes), Style.STRONG), span(f": {short(', '.join(titles))}"))
        yield Line((*spans, span(f" ({short(why)})", Style.DIM)), first="  ", rest="    ")
    yield from _more(len(reasons) - _MAX_ROWS, "reason")


def _odd(odd: Sequence[Odd]) -> Iterator[Line]:
    if not odd:
        return
    yield from _heading("What to type there")
    for each in odd[:_MAX_ROWS]:
        titles = short(", ".join(each.differences))
        yield Line((span(folded(each.nodes), Style.STRONG), span(f" ({titles})")), first="  ", rest="    ")
        for command in each.commands[:_MAX_COMMANDS]:
            yield _command(command)
    yield from _more(len(odd) - _MAX_ROWS, "group")


def _plans(plans: Sequence[SharedPlan]) -> Iterator[Line]:
    """The plan that serves the most nodes."""
    if not plans:
        return
    yield from _heading("One plan serves several")
    yield Line((span(folded(plans[0].nodes), Style.STRONG),), first="  ", rest="    ")
    for command in plans[0].commands:
        yield _command(command)
    yield from _more(len(plans) - 1, "plan")
