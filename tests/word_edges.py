"""Short words in a pattern that could as well be the end, or the beginning, of something else."""

from __future__ import annotations

import re
import string
from itertools import chain, islice, product
from typing import Any

parser: Any = getattr(re, "_parser", None) or __import__("sre_parse")
EDGE = r"(?:\b|_|\\[nrt])"  # {edge} of the catalogue, spelt out
WORD = frozenset(string.ascii_lowercase + string.digits + "_")
PRINTED = frozenset(map(chr, range(32, 127)))
LEFT = 4  # letters of a word that may not begin inside another
ALONE = 3  # letters of a word between two gaps, which may not end inside another either
MANY = 6  # members of a class that stands for nearly any letter
AT_MOST = 2000  # ways through a pattern
GAP, BOUND = "gap", "bound"
Token = str | frozenset[str]
Sequence = list[Token]


def open_words(text: str) -> set[str]:
    """The words of at most LEFT letters whose beginning, or of ALONE letters whose end, may lie inside another word."""
    found = set()
    for tokens in sequences(parser.parse(text)):
        place = 0
        while place < len(tokens):
            end = place
            while end < len(tokens) and is_letter(tokens[end]):
                end += 1
            before = tokens[place - 1] if place else GAP
            after = tokens[end] if end < len(tokens) else GAP
            length = end - place
            begins_anywhere = is_open(before) and length <= LEFT
            ends_anywhere = (is_open(before) or before == BOUND) and is_open(after) and length <= ALONE
            if length and (begins_anywhere or ends_anywhere):
                found.add("".join(min(letter) for letter in tokens[place:end]))
            place = max(end, place + 1)
    return found


def is_letter(token: Token) -> bool:
    return isinstance(token, frozenset) and token <= WORD


def is_open(token: Token) -> bool:
    return token == GAP or (isinstance(token, frozenset) and len(token & WORD) > MANY)


def sequences(tree: Any) -> list[Sequence]:
    """Every way through a pattern: sets of signs, gaps (any number of any sign), and bounds of words."""
    ways: list[Sequence] = [[]]
    for operation, argument in tree:
        further = product(ways, step(str(operation), argument))
        ways = [before + after for before, after in islice(further, AT_MOST)]
    return ways


def step(operation: str, argument: Any) -> list[Sequence]:
    if operation in {"LITERAL", "NOT_LITERAL"}:
        return [[frozenset(chr(argument)) if operation == "LITERAL" else PRINTED - {chr(argument)}]]
    if operation == "IN":
        return [[members(argument)]]
    if operation == "SUBPATTERN":
        return sequences(argument[-1])
    if operation == "BRANCH":
        return [way for branch in argument[1] for way in sequences(branch)]
    if operation in {"MAX_REPEAT", "MIN_REPEAT"}:
        return repeated(*argument)
    return [[BOUND]]


def repeated(low: int, high: int, body: Any) -> list[Sequence]:
    ways = sequences(body)
    if high > 3:
        sure = ways[0] * min(low, LEFT) if len(ways) == 1 else []
        anything = any(map(is_open, chain.from_iterable(ways)))
        return [[*sure, GAP]] if anything else [ways[0] * max(low, 1), *([[]] if low == 0 else [])]
    choices = (choice for count in range(low, high + 1) for choice in product(ways, repeat=count))
    return [list(chain.from_iterable(choice)) for choice in islice(choices, AT_MOST)]


def members(items: Any) -> frozenset[str]:
    found: set[str] = set()
    negated = False
    for operation, argument in items:
        kind = str(operation)
        negated = negated or kind == "NEGATE"
        if kind == "LITERAL":
            found.add(chr(argument))
        elif kind == "RANGE":
            found.update(map(chr, range(argument[0], argument[1] + 1)))
        elif kind == "CATEGORY":
            found |= category(str(argument))
    return PRINTED - found if negated else frozenset(found)


def category(name: str) -> frozenset[str]:
    plain = {"WORD": WORD, "DIGIT": frozenset(string.digits), "SPACE": frozenset(" \t")}[name.rpartition("_")[2]]
    return PRINTED - plain if "NOT" in name else plain
