"""What a key of a fact file may hold, told by the annotation of the field that it fills.

A field says by its type how its value is read from TOML: `str`, `bool`, `int`, `float` and `date` as themselves,
`Version`, `Capability`, enums and patterns from text, a tuple or frozenset from a list of texts. What a type cannot say
is put around it with `Annotated`: the markers below.
"""

from __future__ import annotations

import datetime
import re
from enum import Enum, IntEnum
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from flash_doctor.model import Capability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
_CAPABILITY = re.compile(r"(\d+)\.(\d+)")


class Wrong(ValueError):
    """A value that is not what its field holds; `whys` has one sentence for each fault."""

    def __init__(self, *whys: str) -> None:
        super().__init__(*whys)
        self.whys = whys


class Mark(Enum):
    """Where the value of a field comes from, if not from the key of its name."""

    NAME = "the row's own name"
    GIVEN = "who reads the file, or a field of the file before this section: it is the same in every row"
    SPLIT = "a text: its words, separated by blanks"
    INLINE = "keys of the same row, all of one dataclass; None where none of them is there"


NAME, GIVEN, SPLIT, INLINE = Mark.NAME, Mark.GIVEN, Mark.SPLIT, Mark.INLINE


class Key(NamedTuple):
    """The key, where it is not called as the field is."""

    name: str


class Parsed(NamedTuple):
    """The value is made from text by `parse`, which raises Wrong; `stand_in` takes the place of a faulty one."""

    parse: Callable[[str], Any]
    stand_in: Any = None


class Checked(NamedTuple):
    """A value for which `holds` is false is a fault: `says`, in which {!r} is the value."""

    holds: Callable[[Any], object]
    says: str


Words = Annotated[tuple[str, ...], SPLIT]
Versions = Annotated[tuple[Version, ...], SPLIT]
Capabilities = Annotated[tuple[Capability, ...], SPLIT]
Share = Annotated[float, Checked(lambda value: 0 < value < 1, "must lie between 0 and 1, not {!r}")]


class Kind(NamedTuple):
    """How a value is read, raising Wrong, and what takes the place of a faulty one until all faults are told."""

    read: Callable[[Any], Any]
    stand_in: Any


@cache
def kind_of(hint: Any, *, text: bool = False) -> Kind:
    """The kind that a type tells; `text`: where TOML can only have text, as in a row's name and among words.

    Raises:
        TypeError: no such type is known here; the fault is the program's.
    """
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(inside[0], inside[1:], text=text)
    if origin in (Union, UnionType):
        (member,) = (each for each in inside if each is not NoneType)
        return Kind(kind_of(member, text=text).read, None)
    if origin in (tuple, frozenset):
        return _list_of(origin, kind_of(inside[0], text=True))
    return _plain(hint, origin, inside, text=text)


def _plain(hint: Any, origin: Any, inside: tuple[Any, ...], *, text: bool) -> Kind:
    if origin is Literal:
        says = f"must be one of {', '.join(inside)}, not {{!r}}"
        return Kind(_checked(_TEXT.read, Checked(inside.__contains__, says)), inside[0])
    if origin is re.Pattern:
        return Kind(_of_text(_pattern), re.compile(""))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member_of(hint)
    if text and hint in _WORDS:
        return _WORDS[hint]
    if hint in _KINDS:
        return _KINDS[hint]
    message = f"a fact cannot be a {hint}"
    raise TypeError(message)


def _annotated(hint: Any, marks: tuple[Any, ...], *, text: bool) -> Kind:
    parsed = next((mark for mark in marks if isinstance(mark, Parsed)), None)
    if parsed:
        kind = Kind(_of_text(parsed.parse), parsed.stand_in)
    elif SPLIT in marks:
        kind = _words_of(get_origin(hint), kind_of(get_args(hint)[0], text=True))
    else:
        kind = kind_of(hint, text=text)
    for mark in marks:
        if isinstance(mark, Checked):
            kind = Kind(_checked(kind.read, mark), kind.stand_in)
    return kind


def _checked(read: Callable[[Any], Any], check: Checked) -> Callable[[Any], Any]:
    def checked(found: object) -> Any:
        value = read(found)
        if not check.holds(value):
            raise Wrong(check.says.format(found))
        return value

    return checked


def _exactly(kind: type) -> Callable[[Any], Any]:
    def exact(found: object) -> Any:
        if type(found) is not kind:  # not isinstance: True is no number, and a moment is no date
            message = f"must be {kind.__name__}, not {found!r}"
            raise Wrong(message)
        return found

    return exact


_TEXT = Kind(_exactly(str), "")


def _of_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    def read(found: Any) -> Any:
        return parse(found if type(found) is str else _TEXT.read(found))

    return read


def _list_of(collection: Callable[[list[Any]], Any], member: Kind) -> Kind:
    listed = _exactly(list)

    def read(found: object) -> Any:
        values = listed(found)
        if not all(isinstance(value, str) and value for value in values):
            message = "must hold texts only"
            raise Wrong(message)
        return collection(each(member.read, values))

    return Kind(read, collection([]))


def _words_of(collection: Callable[[list[Any]], Any], member: Kind) -> Kind:
    return Kind(lambda found: collection(each(member.read, _TEXT.read(found).split())), collection([]))


def each(read: Callable[[Any], T], values: Iterable[Any]) -> list[T]:
    """What is read of each value; raises Wrong with the faults of all."""
    wrong: list[str] = []

    def attempt(value: Any) -> Iterator[T]:
        try:
            yield read(value)
        except Wrong as error:
            wrong.extend(error.whys)

    made = [result for value in values for result in attempt(value)]
    if wrong:
        raise Wrong(*wrong)
    return made


def _member_of(enum: type[Enum]) -> Kind:
    """By value; where that is a number, by the member's name in small letters."""
    numbers = issubclass(enum, IntEnum)
    members = {member.name.lower() if numbers else member.value: member for member in enum}

    def parse(text: str) -> Enum:
        if text not in members:
            message = f"{text!r} is no {enum.__name__.lower()}: {', '.join(members)}"
            raise Wrong(message)
        return members[text]

    return Kind(_of_text(parse), next(iter(enum)))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        # what it is compared with may hold a line feed, and the last row is to fit whatever it is
        return re.compile(text, re.IGNORECASE | re.DOTALL)
    except re.error as error:
        raise Wrong(str(error)) from error


@lru_cache(maxsize=1024)  # the same few hundred stand in every file
def _version(text: str) -> Version:
    try:
        return Version(text)
    except ValueError as error:  # InvalidVersion is one, and so is a number of more digits than int() takes
        message = f"{text!r} is no version"
        raise Wrong(message) from error


@lru_cache(maxsize=128)
def capability(text: str) -> Capability:
    """Of "9.0"; raises Wrong."""
    match = _CAPABILITY.fullmatch(text)
    if match is None:
        message = f"{text!r} is no capability"
        raise Wrong(message)
    return Capability(major=int(match[1]), minor=int(match[2]))


def _name(text: str) -> NormalizedName:
    name = canonicalize_name(text)
    if name != text:
        message = f"must be written {name}"
        raise Wrong(message)
    return name


def _number(text: str) -> int:
    if not text.isdecimal():
        message = f"{text!r} is no number"
        raise Wrong(message)
    return int(text)


_KINDS: dict[Any, Kind] = {
    str: _TEXT,
    bool: Kind(_exactly(bool), False),
    int: Kind(_exactly(int), 0),
    float: Kind(_exactly(float), 0.0),
    datetime.date: Kind(_exactly(datetime.date), datetime.date.min),
    Version: Kind(_of_text(_version), Version("0")),
    Capability: Kind(_of_text(capability), Capability(major=0, minor=0)),
    NormalizedName: Kind(_of_text(_name), canonicalize_name("")),
}
_WORDS: dict[Any, Kind] = {int: Kind(_of_text(_number), 0)}
