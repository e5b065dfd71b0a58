"""One document of one node, from anybody, to a Node; what cannot be read is a Lost one, with the reason."""

from __future__ import annotations

import math
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadInput
from flash_doctor.fleet.aspects import nccl_package, signature, values
from flash_doctor.fleet.entry import Entry
from flash_doctor.model import Absent, Unknown
from flash_doctor.model.fleet import Ailment, ClockOffset, Lost, Node
from flash_doctor.system.bounds import read_json
from flash_doctor.system.redact import as_json, cut, redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_doctor.system.claims import Claimed
    from flash_doctor.system.redact import Redacted

REPORT = "flash-doctor/report/1"
ERROR = "flash-doctor/error/1"
LOST = "flash-doctor/fleet-lost/1"

MAX_DOCUMENT = 8 * 1024 * 1024  # bytes: a target with 10,000 distributions; a parsed one takes 20 times as much
_MAX_AILMENTS = 200
_PDSH = 128 * 1024 - 1  # characters that pdsh 2.34 keeps of a line, measured
_BEFORE, _BEHIND = '"packages": ', ', "torch": '
_MAX_SHARED = 256 * 1024  # characters: 32 lists of packages are kept
_MARK = os.urandom(16).hex()
_LABEL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,252}): ", re.ASCII)  # as pdsh puts it before each line


def read_document(text: str, *, source: str = "", fallback: str = "", label: str = "") -> Node | Lost:
    """The node that a document tells of.

    Args:
        text: one JSON document, perhaps with the node's name and a colon before it.
        source: the file it came from, "" for none.
        fallback: the node's name where the document tells none.
        label: the node's name as the engine knows it; it overrides what the document says.
    """
    prefix = _LABEL.match(text)
    if prefix:
        text, label = text[prefix.end() :], label or prefix[1]
    name = label or fallback or "a node without a name"
    if len(text) > MAX_DOCUMENT:
        return Lost(name=name, why=f"its report is longer than {MAX_DOCUMENT >> 20} MiB", source=source)
    try:
        return _node(parse_document(text), source, label, fallback)
    except BadInput as error:
        hint = "; pdsh cuts lines of 128 KiB, parallel-ssh -o DIR does not" if prefix and len(text) == _PDSH else ""
        return Lost(name=name, why=f"its report cannot be read: {error.message}{hint}", source=source)


def parse_document(text: str) -> Entry:
    """Raises BadInput, in words for people, when it is no JSON object."""
    try:
        data = _sharing_packages(text)
    except ValueError as error:
        begin = cut(text.strip(), 100)
        message = f"it says {begin!r}" if begin and begin[0] not in "{[" else f"it is no JSON ({cut(str(error), 100)})"
        raise BadInput(message) from None
    if not isinstance(data, dict):
        message = f"it is a JSON {type(data).__name__}, no object"
        raise BadInput(message)
    return Entry(data)


def _sharing_packages(text: str) -> Any:
    """The parsed document; the list of packages, most of it and the same on most nodes, is parsed once.

    It is cut out where `check` writes it, and a mark that nobody can guess stands in for it. Wherever the two pieces
    are JSON and the mark is found at its place, the whole has the same meaning; else the whole is parsed as it is.
    """
    begin = text.find(_BEFORE) + len(_BEFORE)
    end = text.find(_BEHIND, begin)
    if begin < len(_BEFORE) or not 0 < end - begin < _MAX_SHARED:
        return _loads(text)
    try:
        data = _loads(f'{text[:begin]}"{_MARK}"{text[end:]}')
        if data["environment"]["packages"] == _MARK:
            data["environment"]["packages"] = _shared(text[begin:end])
            return data
    except (ValueError, LookupError, TypeError):
        pass
    return _loads(text)


@lru_cache(maxsize=32)
def _shared(text: str) -> Any:
    return _loads(text)


def _loads(text: str) -> Any:
    return _accept(read_json(text, limit=2 * MAX_DOCUMENT))


def _accept(claim: Claimed[Any]) -> Any:
    """A document as it is: every value of it is taken out by `Entry`, which knows its path and demands its type."""
    return claim.unproved()


def _node(document: Entry, source: str, label: str, fallback: str) -> Node | Lost:
    schema = document.data.get("schema")
    envelope = document.entry("fleet") if "fleet" in document.data else Entry({}, "$.fleet")
    if not label and "node" in envelope.data:
        label = envelope.text("node")
    name = label or fallback or "a node without a name"
    if schema == LOST:
        return Lost(name=name, why=document.text("why"), source=source)
    if schema == ERROR:
        return Lost(name=name, why=f"its check ended with: {document.text('error')}", source=source)
    if schema != REPORT:
        message = f"its schema is {cut(str(schema), 60)!r}, not {REPORT!r}" if schema else "it names no schema"
        raise BadInput(message)
    environment = document.entry("environment")
    package = nccl_package(environment)
    aspects = values(environment, package)
    return Node(
        name=label or _hostname(environment) or name,
        source=source,
        python=document.entry("target").text("python"),
        values=aspects,
        ailments=tuple(_ailments(document)),
        clock=_clock(envelope),
        nccl_package=package.text("name") if package else "",
        signature=signature(environment, aspects),
    )


def _hostname(environment: Entry) -> str:
    host = environment.part("host")
    return "" if isinstance(host, (Absent, Unknown)) else host.text("hostname")


def _ailments(document: Entry) -> Iterator[Ailment]:
    found = document.entries("findings")
    errors = [finding for finding in found if finding.text("severity") == "error"]
    for finding in errors[:_MAX_AILMENTS]:
        remedy: Mapping[str, Any] = finding.data.get("remedy") or {}
        yield Ailment(
            code=finding.text("code"),
            subject=finding.text("subject"),
            summary=finding.text("summary"),
            plannable=isinstance(remedy, dict) and bool(remedy.get("goal")),
        )


def _clock(envelope: Entry) -> ClockOffset | None:
    if "clock" not in envelope.data:
        return None
    clock = envelope.entry("clock")
    low, high = clock.seconds("low"), clock.seconds("high")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        message = f"{clock.path}: expected low <= high"
        raise BadInput(message)
    return ClockOffset(low=low, high=high)


def document_to_keep(text: str) -> Redacted:
    """A JSON document that another machine made, as it may be kept here; as a text where it is none."""
    try:
        return _accept_to_keep(read_json(text))
    except ValueError:
        return redact(text)


def _accept_to_keep(claim: Claimed[Any]) -> Redacted:
    """As it is but for what is hidden: it is kept, and nothing in it is believed."""
    document = claim.unproved()
    return as_json(document if isinstance(document, dict) else {"document": document})
