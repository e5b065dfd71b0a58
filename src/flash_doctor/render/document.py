"""Values to JSON documents, and a report back from its document (which may come from anybody)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadInput, DoctorError
from flash_doctor.model import Report
from flash_doctor.system.bounds import read_json
from flash_doctor.system.claims import Claimed
from flash_doctor.system.codec import decode, encode
from flash_doctor.system.redact import Hide, Redacted, as_json, cut

if TYPE_CHECKING:
    from flash_doctor.model.binaries import Inspection

REPORT = "flash-doctor/report/1"
ERROR = "flash-doctor/error/1"
EXPLANATION = "flash-doctor/explanation/1"
ABI = "flash-doctor/abi/1"
PLAN = "flash-doctor/plan/1"

MAX_REPORT = 64 * 1024 * 1024  # characters: ten times the report of a target with 10,000 distributions
_MAX_DIGITS = 20  # only numbers that a machine can have
_OF_DOCUMENT = {"schema", "verdict", "exit_code"}  # what the document has beside the report's own fields
_FROM_CHECK = "Make a report with: `flash-doctor check --json > report.json`"

Document = dict[str, Any]


def report_document(report: Report, exit_code: int) -> Document:
    """The document of `check`; `exit_code` is the one that the process ends with."""
    body: Document = encode(report)
    if not report.only:
        del body["only"]
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
    """The report back from the text of its document.

    Raises:
        BadInput: too long, not JSON, of another schema, a key that we do not know, or a value that does not fit, named
            by its path.
    """
    if len(text) > MAX_REPORT:
        message = f"the report is longer than {MAX_REPORT // 1024 // 1024} MiB"
        raise BadInput(message, advice=_FROM_CHECK)
    body = _body(_parse(text))
    try:
        return accept(decode(Report, body))
    except ValueError as error:
        message = "a value in the report is none that this machine could have"
        raise BadInput(message, evidence=(str(error),), advice=_FROM_CHECK) from error


def accept(claim: Claimed[Report]) -> Report:
    """Ours as a description of a machine: it is judged and shown, and nothing that it names is opened or run."""
    return claim.unproved()


def _body(claim: Claimed[Any]) -> Claimed[Any]:
    """The report in its document, still a claim."""
    data = claim.unproved()
    schema = data.get("schema") if isinstance(data, Mapping) else None
    if schema != REPORT or not isinstance(data, Mapping):
        message = "this is not a report that this version of flash-doctor can read"
        found = f"its schema is {cut(str(schema), 80)!r}" if schema is not None else "it names no schema"
        raise BadInput(message, evidence=(f"{found}; expected {REPORT!r}",), advice=_FROM_CHECK)
    return Claimed({key: value for key, value in data.items() if key not in _OF_DOCUMENT}, claim.origin)


def _parse(text: str) -> Claimed[Any]:
    try:
        return read_json(text, limit=MAX_REPORT, digits=_MAX_DIGITS, unique=True, origin="the report")
    except ValueError as error:
        message = "the report is not valid JSON"
        raise BadInput(message, evidence=(str(error),), advice=_FROM_CHECK) from error
