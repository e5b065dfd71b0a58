"""Values to JSON documents, and a report back from its document (which may come from anybody)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flash_doctor.codec import decode, encode
from flash_doctor.errors import BadInput, DoctorError
from flash_doctor.model import Report
from flash_doctor.system.redact import Hide, Redacted, as_json, cut

if TYPE_CHECKING:
    from flash_doctor.model.binaries import Inspection

REPORT = "flash-doctor/report/1"
ERROR = "flash-doctor/error/1"
EXPLANATION = "flash-doctor/explanation/1"
ABI = "flash-doctor/abi/1"
PLAN = "flash-doctor/plan/1"

MAX_REPORT = 64 * 1024 * 1024  # characters: ten times the report of a target with 10,000 distributions
_MAX_DIGITS = 20
_FROM_CHECK = "Make a report with: flash-doctor check --json > report.json"

Document = dict[str, Any]


def report_document(report: Report, exit_code: int) -> Document:
    """The document of `check`; `exit_code` is the one that the process ends with."""
    body: Document = encode(report)
    return {"schema": REPORT, **body, "verdict": report.verdict.value, "exit_code": exit_code}


def abi_document(inspection: Inspection, exit_code: int) -> Document:
    """The document of `abi`."""
    body: Document = encode(inspection)
    return {"schema": ABI, **body, "exit_code": exit_code}


def error_document(error: DoctorError) -> Document:
    """What stands on stdout instead of the command's own document when it failed."""
    return {
        "schema": ERROR,
        "error": error.message,
        "evidence": list(error.evidence),
        "advice": error.advice,
        "exit_code": error.exit_code,
    }


def explanations_document(explanations: list[Document]) -> Document:
    return {"schema": EXPLANATION, "explanations": explanations}


def to_json(document: Document) -> Redacted:
    """One line of ASCII, whatever the file names in it were; without secrets, and without people if nothing reads it.

    A plan is read by `fix`, which must find the files that it names.
    """
    return as_json(document, Hide.SECRETS if document.get("schema") == PLAN else Hide.PEOPLE)


def load_report(text: str) -> Report:
    """The report back from the text of its document; keys we do not know are passed over.

    Raises:
        BadInput: too long, not JSON, of another schema, or a value that does not fit, named by its path.
    """
    if len(text) > MAX_REPORT:
        message = f"the report is longer than {MAX_REPORT // 1024 // 1024} MiB"
        raise BadInput(message, advice=_FROM_CHECK)
    data = _parse(text)
    schema = data.get("schema") if isinstance(data, Mapping) else None
    if schema != REPORT:
        message = "this is not a report that this version of flash-doctor can read"
        found = f"its schema is {cut(str(schema), 80)!r}" if schema is not None else "it names no schema"
        raise BadInput(message, evidence=(f"{found}; expected {REPORT!r}",), advice=_FROM_CHECK)
    return decode(Report, data)


def _parse(text: str) -> object:
    try:
        return json.loads(text, parse_int=_integer, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        message = "the report is not valid JSON"
        raise BadInput(message, evidence=(str(error),), advice=_FROM_CHECK) from error


def _integer(digits: str) -> int:
    """Only numbers that a machine can have: a longer one is an attack on the parser, or a damaged file."""
    if len(digits) > _MAX_DIGITS:
        message = f"a number of {len(digits)} digits"
        raise ValueError(message)
    return int(digits)


def _constant(name: str) -> float:
    message = f"{name} is no JSON value"
    raise ValueError(message)
