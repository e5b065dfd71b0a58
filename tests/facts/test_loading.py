"""How a file becomes its dataclass: what each annotation reads, and what is said of a key that does not fit."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from flash_doctor.errors import BadFacts
from flash_doctor.facts.kinds import (
    GIVEN,
    INLINE,
    NAME,
    SPLIT,
    Capabilities,
    Checked,
    Key,
    Parsed,
    Share,
    Versions,
    Words,
    Wrong,
    kind_of,
)
from flash_doctor.facts.loading import Source, Table, TableSection, load
from flash_doctor.model import Capability

if TYPE_CHECKING:
    from pathlib import Path


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Depth(IntEnum):
    SHALLOW = 1
    DEEP = 2


def _pair(text: str) -> tuple[str, str]:
    left, dash, right = text.partition("-")
    if not dash:
        message = "must be a-b"
        raise Wrong(message)
    return left, right


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    watts: int
    bulbs: Words = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    name: Annotated[str, NAME]
    house: Annotated[str, GIVEN]
    size: int
    height: float | None
    share: Share = 0.5
    open: bool = False
    built: datetime.date | None
    colour: Colour = Colour.RED
    depth: Depth = Depth.DEEP
    style: Literal["old", "new"] = "old"
    first: Version | None
    since: Versions = ()
    chips: Capabilities = ()
    doors: Annotated[tuple[int, ...], SPLIT] = ()
    tags: frozenset[str] = frozenset()
    about: str = ""
    pattern: re.Pattern[str] | None
    package: NormalizedName | None
    pair: Annotated[tuple[str, str] | None, Parsed(_pair)]
    floor: Annotated[int, Key("level"), Checked(lambda value: value >= 0, "must not be below 0, it is {!r}")] = 0
    lamp: Annotated[Lamp | None, INLINE]
    source: Source

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.size > 100:
            yield "size", "is too much"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    steps: int


@dataclass(frozen=True, kw_only=True)
class House:
    house: Annotated[str, TableSection("house", column="address")]
    rooms: Annotated[Mapping[str, Room], TableSection("room")]
    keys: Annotated[Mapping[Version, str], TableSection("key", column="opens", notes=("of",))]
    guests: Annotated[Mapping[str, str], TableSection("guest", column="bed", by="names")]
    floors: Annotated[Mapping[int, Mapping[str, Numbers]], TableSection("stairs", sourced=False)]
    words: Annotated[frozenset[str], SPLIT, TableSection("words", column="all")]
    up: Annotated[Numbers, TableSection("numbers.up")]
    down: Annotated[Numbers, TableSection("numbers.down")]

    def faults(self) -> Iterator[tuple[str, str, str]]:
        if "hall" not in self.rooms:
            yield "room.hall", "name", "every house has one"


GOOD = """
[sources]
paper = { what = "a paper", read = 2026-11-20 }
[house.it]
address = "Elm Street"
source = "paper"
[room.hall]
size = 20
source = "paper"
[room.kitchen]
size = 9
height = 2.5
share = 0.25
open = true
built = 2001-02-03
colour = "blue"
depth = "shallow"
style = "new"
first = "1.2"
since = "1.0 1.1"
chips = "8.0 9.0"
doors = "1 2"
tags = ["a b", "c"]
about = ""
pattern = "x.y"
package = "flash-attn"
pair = "l-r"
level = 2
watts = 60
bulbs = "e14 e27"
source = "paper"
[key]
"1.0" = { opens = "the door", of = "a note", source = "paper" }
[[guest]]
names = ["Ada", "Bob"]
bed = "blue"
source = "paper"
[[guest]]
names = "Cem Dan"
bed = "red"
source = "paper"
[stairs.1]
left = { steps = 3 }
[stairs.2]
left = { steps = 4 }
right = { steps = 5 }
[words.one]
all = "a b"
source = "paper"
[words.two]
all = "b c"
source = "paper"
[numbers]
up = { steps = 1, source = "paper" }
down = { steps = 2, source = "paper" }
"""


def house(tmp_path: Path, text: str = GOOD) -> House:
    file = tmp_path / "house.toml"
    file.write_text(text, encoding="utf-8")
    return load(House, file)


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    read = house(tmp_path)
    kitchen = read.rooms["kitchen"]
    assert (kitchen.name, kitchen.house, kitchen.size, kitchen.height) == ("kitchen", "Elm Street", 9, 2.5)
    assert (kitchen.share, kitchen.open, kitchen.built) == (0.25, True, datetime.date(2001, 2, 3))
    assert (kitchen.colour, kitchen.depth, kitchen.style) == (Colour.BLUE, Depth.SHALLOW, "new")
    assert (kitchen.first, kitchen.since) == (Version("1.2"), (Version("1.0"), Version("1.1")))
    assert kitchen.chips == (Capability(major=8, minor=0), Capability(major=9, minor=0))
    assert (kitchen.doors, kitchen.tags, kitchen.about) == ((1, 2), frozenset({"a b", "c"}), "")
    assert kitchen.pattern is not None
    assert kitchen.pattern.fullmatch("X\nY")
    assert (kitchen.package, kitchen.pair, kitchen.floor) == ("flash-attn", ("l", "r"), 2)
    assert kitchen.lamp == Lamp(watts=60, bulbs=("e14", "e27"))
    assert kitchen.source == Source(what="a paper", read=datetime.date(2026, 11, 20))


def test_what_may_be_left_out_has_its_default_or_none(tmp_path: Path) -> None:
    hall = house(tmp_path).rooms["hall"]
    assert (hall.height, hall.first, hall.lamp, hall.pair) == (None, None, None, None)
    assert (hall.share, hall.colour, hall.since, hall.tags, hall.floor) == (0.5, Colour.RED, (), frozenset(), 0)


def test_every_shape_of_section_is_read(tmp_path: Path) -> None:
    read = house(tmp_path)
    assert read.keys == {Version("1.0"): "the door"}
    assert read.guests == {"Ada": "blue", "Bob": "blue", "Cem": "red", "Dan": "red"}
    assert {floor: {side: row.steps for side, row in rows.items()} for floor, rows in read.floors.items()} == {
        1: {"left": 3},
        2: {"left": 4, "right": 5},
    }
    assert read.words == {"a", "b", "c"}
    assert (read.up.steps, read.down.steps) == (1, 2)


@pytest.mark.parametrize(
    ("old", "new", "faults"),
    [
        ("size = 9\n", "", ["room.kitchen: size: is missing"]),
        ("size = 9\n", "size = true\n", ["room.kitchen: size: must be int, not True"]),
        ("size = 9\n", "size = 101\n", ["room.kitchen: size: is too much"]),
        ("height = 2.5", "height = 2", ["room.kitchen: height: must be float, not 2"]),
        ("share = 0.25", "share = 1.0", ["room.kitchen: share: must lie between 0 and 1, not 1.0"]),
        ("built = 2001-02-03", "built = 2001-02-03T04:05:06", ["room.kitchen: built: must be date, not"]),
        ('colour = "blue"', 'colour = "green"', ["room.kitchen: colour: 'green' is no colour: red, blue"]),
        ('depth = "shallow"', 'depth = "1"', ["room.kitchen: depth: '1' is no depth: shallow, deep"]),
        ('style = "new"', 'style = "odd"', ["room.kitchen: style: must be one of old, new, not 'odd'"]),
        ('first = "1.2"', 'first = ""', ["room.kitchen: first: is empty"]),
        (
            'since = "1.0 1.1"',
            'since = "one 1.1 two"',
            ["room.kitchen: since: 'one' is no version", "room.kitchen: since: 'two' is no version"],
        ),
        ('since = "1.0 1.1"', 'since = ["1.0"]', ["room.kitchen: since: must be str, not ['1.0']"]),
        ('chips = "8.0 9.0"', 'chips = "8"', ["room.kitchen: chips: '8' is no capability"]),
        ('doors = "1 2"', 'doors = "1 x"', ["room.kitchen: doors: 'x' is no number"]),
        ('tags = ["a b", "c"]', 'tags = ["a", 7]', ["room.kitchen: tags: must hold texts only"]),
        ('tags = ["a b", "c"]', 'tags = "a"', ["room.kitchen: tags: must be list, not 'a'"]),
        ('pattern = "x.y"', 'pattern = "(("', ["room.kitchen: pattern: missing )"]),
        ('package = "flash-attn"', 'package = "Flash_Attn"', ["room.kitchen: package: must be written flash-attn"]),
        ('pair = "l-r"', 'pair = "lr"', ["room.kitchen: pair: must be a-b"]),
        ("level = 2", "level = -2", ["room.kitchen: level: must not be below 0, it is -2"]),
        ("level = 2", "floor = 2", ["room.kitchen: floor: is not a key of this table"]),
        ("watts = 60\n", "", ["room.kitchen: watts: is missing"]),
        ("[room.hall]", "[room.salon]", ["room.hall: name: every house has one"]),
        (
            "[room.hall]\nsize = 20",
            "[room]\nhall = 7\n[room.salon]\nsize = 20",
            ["room.hall: : must be a table", "room.hall: name: every"],
        ),
        ('"1.0" = {', '"one" = {', ["key.one: name: 'one' is no version"]),
        ('of = "a note", ', "", ["key.1.0: of: is missing"]),
        ('names = ["Ada", "Bob"]\n', "", ["guest.1: names: is missing"]),
        ("[stairs.2]", "[stairs.two]", ["stairs.two: name: 'two' is no number"]),
        ("right = { steps = 5 }", "right = { step = 5 }", ["stairs.2.right: steps: is missing", "right: step: is not"]),
        ("[house.it]", "[house.one]\naddress = 'x'\nsource = 'paper'\n[house.it]", ["house: name: must be one row"]),
        (
            "down = {",
            "sideways = {",
            ["numbers.down: name: the numbers are up, down", "numbers.sideways: name: the num"],
        ),
        ("[key]", "[cellar.a]\n[key]", ["cellar: name: is no section of this file"]),
        (
            'source = "paper"\n[key]',
            "source = ['paper']\n[key]",
            ["room.kitchen: source: ['paper'] is none of the file"],
        ),
        (
            "[sources]",
            "[sources]\nrumour = { what = 'x', read = 2026-01-01 }",
            ["sources.rumour: name: no row cites it"],
        ),
        ('what = "a paper"', "what = 7", ["sources.paper: what: must be str, not 7"]),
    ],
)
def test_a_fault_is_told_with_its_place_and_alone(tmp_path: Path, old: str, new: str, faults: list[str]) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(BadFacts) as caught:
        house(tmp_path, GOOD.replace(old, new))
    told = caught.value.evidence
    assert len(told) == len(faults), told
    assert all(fault in line for fault, line in zip(faults, told, strict=True)), told


def test_all_faults_of_a_file_are_told_in_its_order(tmp_path: Path) -> None:
    changed = (
        GOOD.replace("size = 20", 'size = "x"').replace("height = 2.5", "height = 2").replace("[words.", "[wards.")
    )
    with pytest.raises(BadFacts, match=r"house\.toml of the wheel matrix breaks 4 rule\(s\)") as caught:
        house(tmp_path, changed)
    assert [line.split(": ")[1] for line in caught.value.evidence] == ["room.hall", "room.kitchen", "words", "wards"]


def test_one_section_can_be_read_alone_with_what_its_reader_knows(tmp_path: Path) -> None:
    file = tmp_path / "rooms.toml"
    file.write_text("[room.a]\nsize = 1\n[room.b]\nsize = 2\n", encoding="utf-8")
    rooms = Table.read(file, house="a shed").listed(Room, TableSection("room", sourced=False))
    assert [(room.name, room.size, room.house) for room in rooms] == [("a", 1, "a shed"), ("b", 2, "a shed")]


def test_a_type_that_no_fact_can_have_is_the_programs_fault() -> None:
    with pytest.raises(TypeError, match="a fact cannot be a <class 'bytes'>"):
        kind_of(bytes)
