"""The redactor: every document, message and log passes here on its way out, and nothing shows what this module hides.

Two things are hidden. *Secrets*: logins in addresses and tokens in their queries (every value whose key is not known
to be harmless), tokens of services by their shape, private keys, what a header, an option or a name beside it calls
secret.
*People*: e-mail addresses, users of a host (`ada@node7:`), and home folders.

* Everything that is printed or written hides secrets, without an exception and without an option that shows them.
* Text and documents hide people too: the own home folder is `~` where a path begins with it, another's is
  `/home/***`; the own login name in the first folders of a path (/scratch/ada) is `***`. Host names stay: a fleet
  is compared by them. /root is nobody's home.
* A command that is to be copied hides only the own home folder, as `~` or `$HOME`, which the shell puts in again; in a
  document other people's homes are hidden in it as well: whoever reads a report cannot run it as it is.
* What `fix` reads again (plans, bundles, requirement files, scripts) hides secrets alone: the files that it names must
  be found.

`Redacted` is made here and in render/console.py only, and the doors to stdout, stderr and files (cli/errors.py) take
nothing else: whoever forgets to redact does not pass the type checker.

A text that is cut short must be redacted first (`cut`): half a password has no shape that shows it.
The time is linear in the text; masking twice changes nothing.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, NewType

from flash_doctor.system.people import MASK, in_command, in_text, network, own

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flash_doctor.system.people import Edit

Redacted = NewType("Redacted", str)


class Hide(Enum):
    """What is hidden beside the secrets."""

    SECRETS = "nothing else"
    PEOPLE = "people"
    COMMAND = "the own home folder, in a way that a shell understands"


_KEY_LINE = re.compile(r"\s*(?:[A-Za-z0-9+/]{1,80}={0,2}|[\w-]{1,20}: .{0,80}|\*{3})\s*")
_PRIVATE = "PRIVATE KEY-----"
_SLACK = 1 << 13  # characters: longer than a private key of 8192 bits, a signed address, a JWT
_TAIL = 1 << 16  # characters of an output of which the last lines are told
_PASSES = 6  # secrets, then people; a mask may show what it stood beside
# most texts of a document are names, versions and paths: none of them holds what this does not find
_SUSPICIOUS = re.compile(
    r"[@=:：%&\\~|>\x1b]|[\w.+/-]{20}|\s-|^-"
    r"|(?i:pass|pwd|secret|token|cred|key|signature|jwt|cookie|auth|/home|/users|login|identif|basic|bearer)"
)
# one of these stands in every text in which the searches of that name find something
_STEMS = (
    *("pass", "pwd", "pw", "secret", "token", "cred", "key", "signature", "jwt", "cookie", "auth", "sig="),
    *("kennwort", "contrase", "senha", "парол", "密码", "密碼", "パスワード"),
)
_HEADERS = ("authorization", "bearer", "basic", "cookie", "wandb", "login", "api")
_OPTIONS = ("password", "identified", "echo", "wandb", "username")
_IN_RUNS = re.compile(r"[\w.+/=:-]{15}")


def redact(text: str, hide: Hide = Hide.PEOPLE) -> Redacted:
    """The text with secrets masked, and people where that is asked for."""
    for changes in passes(text, hide):
        text = _applied(text, changes)
    return Redacted(text)


def passes(text: str, hide: Hide) -> Iterator[list[Edit]]:
    """What to change, pass after pass, each to be made in the text that the one before left; none where nothing is."""
    for _ in range(_PASSES):
        if not (changes := edits(text, hide)):
            return
        yield changes
        text = _applied(text, changes)


def secrets(text: str) -> str:
    """The text with secrets masked: for what must not even be kept."""
    return redact(text, Hide.SECRETS)


def cut(text: str, limit: int, *, mark: str = "") -> str:
    """At most `limit` characters of the text, masked before it is cut; `mark` says that it was.

    Of a long text no more is read than shows whole every secret that begins where it is cut.
    """
    whole = len(text) <= limit + _SLACK
    text = secrets(text) if whole else between(text[: limit + _SLACK], 0, limit, Hide.SECRETS)
    return text if whole and len(text) <= limit else f"{text[: limit - len(mark)]}{mark}"


def last_lines(text: str, most: int) -> list[str]:
    """The last lines that are not empty, at most `most`, masked before they are parted: a key has many of them."""
    piece = text[-_TAIL - _SLACK :]
    told = between(piece, max(0, len(piece) - _TAIL), len(piece), Hide.SECRETS)
    return [line for line in told.splitlines() if line.strip()][-most:]


def between(text: str, start: int, stop: int, hide: Hide = Hide.PEOPLE) -> str:
    """A piece of a text, masked as a part of the whole: a secret that goes on beyond it is one mask."""
    for changes in passes(text, hide):
        start, stop = _moved(start, changes, to_end=False), _moved(stop, changes, to_end=True)
        text = _applied(text, changes)
    return text[start:stop]


def _moved(place: int, changes: Sequence[Edit], *, to_end: bool) -> int:
    """Where a place is after these changes; in the middle of one, at its start or its end."""
    moved = place
    for start, stop, instead in changes:
        if place <= start:
            break
        if place < stop:
            return moved - (place - start) + (len(instead) if to_end else 0)
        moved += len(instead) - (stop - start)
    return moved


def log_line(text: str, limit: int, *, before: str = "", after: str = "") -> str:
    """A line of a stranger's log: without secrets, people and the addresses of a network, cut after that.

    `before` and `after` are what is known of the rest of the line, where it was too long to be read whole.
    """
    text = between(f"{before}{text}{after}", len(before), len(before) + len(text))
    return _applied(text, _merged(network(text)))[:limit]


def edits(text: str, hide: Hide = Hide.PEOPLE) -> list[Edit]:
    """What one pass changes: (start, stop, what stands there instead), from the first to the last; none overlap."""
    person = own()
    own_name = (person.home and person.home in text) or (person.name and person.name in text)
    if not own_name and not _SUSPICIOUS.search(text):
        return []
    found = [(start, stop, MASK) for start, stop in (*_secret_ranges(text), *_quoted_ranges(text))]
    if changes := _changing(text, found):
        return changes  # people are looked for in what these leave: `p4ss@host` is no e-mail address
    if hide is Hide.PEOPLE:
        return _changing(text, in_text(text, person))
    return _changing(text, in_command(text, person)) if hide is Hide.COMMAND else []


def _changing(text: str, found: Iterable[Edit]) -> list[Edit]:
    return [edit for edit in _merged(found) if text[edit[0] : edit[1]] != edit[2]]


def lines(texts: Sequence[str], hide: Hide = Hide.PEOPLE) -> list[Redacted]:
    """The lines of one text, each masked; a private key may go on over many of them."""
    kept = within_keys(texts)
    return [Redacted(MASK) if inside else redact(text, hide) for text, inside in zip(texts, kept, strict=True)]


def within_keys(texts: Sequence[str]) -> list[bool]:
    """Which of these lines are the inside of a private key that began in an earlier one."""
    found: list[bool] = []
    inside = False
    for text in texts:
        starts, ends = text.rfind("-----BEGIN"), text.rfind("-----END")
        found.append(inside and ends < 0 and _of_a_key(text))
        inside = (starts > ends and _PRIVATE in text) if max(starts, ends) >= 0 else found[-1]
    return found


def joined(texts: Iterable[Redacted]) -> Redacted:
    """Masked texts as one."""
    return Redacted("".join(texts))


def _of_a_key(text: str) -> bool:
    """Whether the line could be within a private key: base64, or a header of it."""
    return not text.strip() or _KEY_LINE.fullmatch(text) is not None


def as_json(document: dict[str, Any], hide: Hide = Hide.PEOPLE) -> Redacted:
    """One line of ASCII, whatever the file names in it were."""
    return Redacted(json.dumps(_walked(document, hide, {}), allow_nan=False) + "\n")


def _walked(value: Any, hide: Hide, seen: dict[str, str], key: str = "") -> Any:
    if isinstance(value, str):
        if value not in seen:
            seen[value] = redact(value, hide)
        return seen[value]
    if isinstance(value, dict):
        return {_key(name, hide, seen): _of_key(str(name), each, hide, seen) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return _list(value, hide, seen, key)
    return value


def _key(name: Any, hide: Hide, seen: dict[str, str]) -> Any:
    return _walked(name, hide, seen) if isinstance(name, str) else name


def _of_key(name: str, value: Any, hide: Hide, seen: dict[str, str]) -> Any:
    """A value by its key: a key may call it secret, as a variable's name does."""
    says_secret = isinstance(value, str) and any(stem in name.lower() for stem in _STEMS)
    if says_secret and redact(f"{name}={value}", Hide.SECRETS) == f"{name}={MASK}":
        return MASK
    return _walked(value, hide, seen, name)


def _list(values: Iterable[Any], hide: Hide, seen: dict[str, str], key: str) -> list[Any]:
    """Texts of a list are lines of one text, commands where the key says so, or the words of a command line."""
    values = list(values)
    if not all(isinstance(each, str) for each in values):
        return [_walked(each, hide, seen) for each in values]
    if key in {"commands", "command"} and hide is Hide.PEOPLE:
        return [redact(redact(each, Hide.COMMAND)) for each in values]
    if any(_PRIVATE in each for each in values):
        return list(lines(values, hide))
    return [_after(before, each, hide, seen) for before, each in zip(["", *values], values, strict=False)]


def _after(word: str, value: str, hide: Hide, seen: dict[str, str]) -> Any:
    """The word of a command line after an option that calls it secret."""
    return _of_key(word, value, hide, seen) if word.startswith("-") and " " not in word else _walked(value, hide, seen)


def _quoted_ranges(text: str) -> Iterator[tuple[int, int]]:
    """Secrets whose names or joints are quoted, for an address, for HTML or JSON, or coloured."""
    from flash_doctor.system.secret_plain import plain

    if meant := plain(text):
        for start, stop in _secret_ranges(meant.text):
            if start < stop:
                yield meant.origin(start, stop)


def _secret_ranges(text: str) -> Iterator[tuple[int, int]]:
    # what is compiled only where it is needed: a second import is a look into a table
    if "://" in text:
        from flash_doctor.system.secret_addresses import in_addresses

        yield from in_addresses(text)
    if "@" in text:
        from flash_doctor.system.secret_addresses import in_bare_logins

        yield from in_bare_logins(text)
    if _IN_RUNS.search(text):
        from flash_doctor.system.secret_shapes import in_key_rows, in_tokens

        yield from in_tokens(text)
        yield from in_key_rows(text)
    if _PRIVATE in text:
        from flash_doctor.system.secret_shapes import in_private_keys

        yield from in_private_keys(text)
    small = text.lower()
    if any(stem in small for stem in _STEMS):
        from flash_doctor.system.secret_values import in_named_values

        yield from in_named_values(text)
    if any(word in small for word in _HEADERS):
        from flash_doctor.system.secret_shapes import in_headers

        yield from in_headers(text)
    if " -" in text or any(word in small for word in _OPTIONS):
        from flash_doctor.system.secret_shapes import in_options

        yield from in_options(text)


def _merged(found: Iterable[Edit]) -> list[Edit]:
    """Without overlaps: the one that holds another stands for both, two that cross become one mask."""
    made: list[Edit] = []
    for start, stop, instead in sorted(found, key=lambda edit: (edit[0], -edit[1])):
        last = made[-1] if made else None
        if last is None or start > last[1] or (start == last[1] and MASK not in {last[2]} & {instead}):
            made.append((start, stop, instead))
        elif stop > last[1]:
            made[-1] = (last[0], stop, MASK)
    return made


def _applied(text: str, changes: Sequence[Edit]) -> str:
    pieces, position = [], 0
    for start, stop, instead in changes:
        pieces += [text[position:start], instead]
        position = stop
    return "".join([*pieces, text[position:]])
