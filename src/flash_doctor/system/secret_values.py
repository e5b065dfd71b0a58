"""Values that a word beside them calls secret: `API_KEY=...`, `"password": "..."`, `--token ...`, `pwd: ...`.

The word is looked for, then what stands around it is read by hand, a bounded piece to each side: so the time is linear
in the text. What is no secret is told by four things: the name (`pad_token`, `max_tokens`), the value (a number, None,
`<s>`, `${HF_TOKEN}`, a folder), the word before (`unexpected token: x`) and what prose goes on with (`token: invalid`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from flash_doctor.system.secret_names import METAVARS, PROSE, PROSE_BEFORE, SETTERS, Name, means_it, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.secret_addresses import Range

_SHOWN_AS = re.compile(r"[*xX•.…_-]+")
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*)(?:\.\d+)?(?:[eE][-+]?\d+)?[%kKMGB]{0,2}")
_PLACEHOLDER = re.compile(
    r"<[^<>\s]*(?: [^<>\s]+){0,5}>|\$\{\{?[^{}]*\}?\}|(?-i:\$[A-Z_][A-Z0-9_]*)|\$[*@#?\d]|\$\([^()]*\)"
    r"|\{\{?[\w. -]*\}?\}|%(?-i:[A-Z_]{2,})%|(?-i:\[[A-Z]{2,8}\])"
    r"|\[?your[\w -]*\]?|\(not shown\)|\(hidden\)|\(no value\)|-+|=.*",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"(?:self|cls|args|kwargs|config|cfg|settings|options|opts|os|env|environ|secrets|getpass|torch|typing|np)[.\[(].*"
    r"|[A-Za-z_][\w.]*\(\)|(?:Optional|Union|List|Dict|Tuple|Tensor|LongTensor|SecretStr)\b.*|b?[\"']{2}|[A-Z_]+(?:KEY|TOKEN|PASSWORD|SECRET)"
)
_CALL = re.compile(r"[A-Za-z_][A-Za-z_.]*\(")
_FOLDER = re.compile(
    r"(?:(?:/|file:/)(?:home|root|usr|etc|var|opt|tmp|mnt|data|run|scratch|users|workspace|content|kaggle|proc)"
    r"|~|\.{1,2}|[A-Z]:\\)(?:[/\\].*)?",
    re.IGNORECASE,
)
_RANDOM = re.compile(r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[^\s]{8,}|(?=[^\s]*[a-z])(?=[^\s]*[A-Z])[^\s]{12,}|[a-f0-9]{16,}")
_QUOTE = re.compile(r"""[bruBRU]{0,2}(\\{0,3})(["'`])""")
_SPACE_SIGN = re.compile(r"\s")
_BRACKETS = {"[": "]", "(": ")"}
_JUDGED, _FAR = 600, 8192  # characters: of a value that are judged, and within which its end is looked for
_CONSTANTS = {"none", "null", "nil", "true", "false", "auto", "str", "string", "bytes", "undefined", "unset", "set"}
_FIRST = re.compile(r"[^\s,;&)\]}\"']*")
_BLOCK = re.compile(r"(?:[ \t]+[^\n]*(?:\n|$))+")
_OPENED_BY = {")": "(", "]": "[", "}": "{", ">": "<"}
_TRAILING = ",;)]}\"'`>.:!"


class _Value(NamedTuple):
    """A piece of the text that a name is joined to: its place, how it begins, and what of it a comma would leave."""

    start: int
    stop: int
    text: str
    first: str
    quoted: bool


def in_named_values(text: str) -> Iterator[Range]:
    """The values of all names that say secret, except what is plainly none."""
    reader, done = _ValueReader(text), 0
    for found in named().finditer(text):
        name = Name.of(text, found)
        if found.start() < done or not means_it(text, found, name) or not name.may_be_secret:
            continue
        value = reader.value(found, name)
        if value and value.stop > value.start and _is_secret(name, value):
            yield value.start, value.stop
            done = value.stop


def _trimmed(word: str) -> str:
    """Without what a sentence or a list put behind it; a bracket that the word opened itself belongs to it."""
    left = word
    while left and left[-1] in _TRAILING and _OPENED_BY.get(left[-1], "\n") not in left:
        left = left[:-1]
    return left or word


class _ValueReader:
    """Reads values forward in one text; where words and lines end is looked for once for each of them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line = self._word = 0

    def value(self, found: re.Match[str], name: Name) -> _Value | None:
        start = found.end()
        if found["block"]:
            block = _BLOCK.match(self._text, start)
            return self._made(*block.span(), quoted=True) if block else None
        if name.joint == "tag":
            stop = self._text.find("<", start, start + _FAR)
            return self._made(start, stop, quoted=True) if stop > start else None
        if quote := _QUOTE.match(self._text, start):
            return self._quoted(quote)
        opening = self._text[start : start + 1]
        if opening and opening in "{[(" and not _PLACEHOLDER.match(self._text[start : start + 80]):
            # the own keys of a mapping say what is secret in it
            return self._bracketed(start, _BRACKETS[opening]) if opening in _BRACKETS else None
        stop = self._end_of_word(start)
        if name.in_query and (next_part := self._text.find("&", start, min(stop, start + _FAR))) > start:
            return self._made(start, next_part)
        return self._made(start, start + len(_trimmed(self._text[start:stop])) if stop - start <= _JUDGED else stop)

    def _made(self, start: int, stop: int, *, quoted: bool = False) -> _Value:
        """Without the spaces around it."""
        text = self._text[start : min(stop, start + _JUDGED)]
        first = _FIRST.match(text)
        return _Value(
            start=start + len(text) - len(text.lstrip()),
            stop=stop if stop > start + _JUDGED else start + len(text.rstrip()),
            text=text.strip(),
            first=first[0] if first and not quoted else text.strip(),
            quoted=quoted,
        )

    def _quoted(self, quote: re.Match[str]) -> _Value:
        """To the same quote again; to the end of the line where there is none."""
        closing, start = quote[1] + quote[2], quote.end()
        line = self._end_of_line(start)
        far = min(line, start + _FAR)
        stop = self._text.find(closing, start, far)
        while stop > start and not quote[1] and self._text[stop - 1] == "\\" and self._text[stop - 2] != "\\":
            stop = self._text.find(closing, stop + 1, far)
        return self._made(start, stop if stop >= 0 else line, quoted=True)

    def _bracketed(self, start: int, closing: str) -> _Value:
        """A list, mapping or pair: to its last bracket, or to the end of the line where it is long."""
        line = self._end_of_line(start)
        stop = self._text.find(closing, start, min(line, start + _JUDGED))
        return self._made(start + 1, stop if stop >= 0 else line)

    def _end_of_word(self, start: int) -> int:
        if start >= self._word:
            found = _SPACE_SIGN.search(self._text, start)
            self._word = found.start() if found else len(self._text)
        return self._word

    def _end_of_line(self, start: int) -> int:
        if start >= self._line:
            found = self._text.find("\n", start)
            self._line = found if found >= 0 else len(self._text)
        return self._line


def _is_secret(name: Name, value: _Value) -> bool:
    told = value.text
    plain = value.first if name.is_weak else told
    if not told or _is_placeholder(name, value):
        return False
    if _NUMBER.fullmatch(plain):
        return _numbers_are_secret(name, plain)
    if _FOLDER.fullmatch(told) and (name.is_weak or name.names_a_file):
        return False
    if name.joint in {"space", "comma"}:
        return _after_a_space(name, value)
    if name.joint == "is" or (name.joint == "cell" and not name.loud):
        return _RANDOM.fullmatch(told) is not None or (name.is_password and not _goes_on(told))
    if name.is_token and name.before in PROSE_BEFORE:
        return _RANDOM.fullmatch(told) is not None
    return not (name.joint == "colon" and not value.quoted and told.lower() in PROSE)


def _is_placeholder(name: Name, value: _Value) -> bool:
    """`None`, `<token>`, `${TOKEN}`, `self.token`, `***`: what stands for a value."""
    told, plain = value.text, value.first
    if _SHOWN_AS.fullmatch(told) or (_PLACEHOLDER.fullmatch(told) and not told.startswith("--")):
        return True
    if plain.lower() in _CONSTANTS or told in METAVARS or (name.is_weak and not name.loud and _CALL.match(told)):
        return True
    return not value.quoted and (_CODE.fullmatch(plain) is not None or told.lower() == name.name)


def _numbers_are_secret(name: Name, plain: str) -> bool:
    """A password may be a number; a token that is one is a model's, unless it is long."""
    return len(plain) >= (8 if name.is_weak else 4) and plain.isdigit()


def _goes_on(word: str) -> bool:
    """Whether a sentence goes on with it: `is incorrect`, `is encrypted`."""
    return word.lower() in PROSE or word.lower().endswith(("ed", "ing", "ble", "ly"))


def _after_a_space(name: Name, value: _Value) -> bool:
    """An option's value; else something that no sentence goes on with."""
    told = value.text
    if name.dashed:
        return not told.startswith("-") and (value.quoted or told.lower() not in PROSE)
    if name.before in SETTERS or name.name.startswith("_auth"):
        return told.lower() not in PROSE
    if name.is_password and not name.loud:
        return value.quoted
    return _RANDOM.fullmatch(told) is not None
