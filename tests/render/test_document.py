"""The JSON of a report: valid by the shipped schema, and the same report when read back."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from claimed import decoded
from flash_doctor.errors import EXIT_CODES, BadInput, DoctorError
from flash_doctor.model import Report, Severity
from flash_doctor.model.binaries import ARCHITECTURE, CudaArchs
from flash_doctor.render.document import error_document, load_report, report_document, to_json
from flash_doctor.system.codec import encode
from patients import DRIVER, PATIENTS, broken, finding, healthy, report
from shipped import schema, validator

GOLDEN = Path(__file__).parents[1] / "golden"


WORDS = st.text(max_size=12)
st.register_type_strategy(str, WORDS)
st.register_type_strategy(Path, WORDS.filter(lambda text: "\0" not in text).map(Path))
st.register_type_strategy(
    Version,
    st.builds("{}.{}{}".format, st.integers(0, 99), st.integers(0, 99), st.sampled_from(["", "+cu130", "rc1"])).map(
        Version
    ),
)
st.register_type_strategy(int, st.integers(-(2**63), 2**64))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(
    NormalizedName, st.text(string.ascii_lowercase + string.digits + "-._", max_size=9).map(canonicalize_name)
)
# a mapping of the one key "absent" or "unknown" has the shape of those two values
st.register_type_strategy(
    Mapping, st.dictionaries(WORDS.filter(lambda key: key not in {"absent", "unknown"}), WORDS, max_size=3)
)
ARCHITECTURES = st.lists(st.from_regex(ARCHITECTURE, fullmatch=True), max_size=3).map(tuple)
st.register_type_strategy(CudaArchs, st.builds(CudaArchs, sass=ARCHITECTURES, ptx=ARCHITECTURES))
REPORTS = st.from_type(Report)
MANY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@MANY
@given(REPORTS, st.sampled_from(sorted(EXIT_CODES)))
def test_any_report_is_valid_and_comes_back_the_same(value: Report, code: int) -> None:
    text = to_json(report_document(value, code))
    assert text.isascii()
    assert text.count("\n") == 1
    validator("report").validate(json.loads(text))
    back = load_report(text)
    nothing_was_masked = text == json.dumps(report_document(value, code)) + "\n"
    assert back == value or not nothing_was_masked
    assert load_report(to_json(report_document(back, code))) == back


def of_nobody(value: Report) -> Report:
    """The same report from a folder that is nobody's home: a document does not say whose home it was."""
    return decoded(Report, json.loads(json.dumps(encode(value)).replace("/home/ada", "/opt/ada")))


@pytest.mark.parametrize("make", PATIENTS.values(), ids=PATIENTS)
def test_the_patients_are_valid_and_come_back_the_same(make: Callable[[], Report]) -> None:
    value = of_nobody(make())
    text = to_json(report_document(value, 1))
    validator("report").validate(json.loads(text))
    assert load_report(text) == value


def test_the_contract_has_the_promised_keys() -> None:
    document = report_document(broken(), 1)
    assert list(document) == [
        "schema",
        "target",
        "environment",
        "findings",
        "unchecked",
        "score",
        "verdict",
        "exit_code",
    ]
    assert (document["schema"], document["verdict"], document["exit_code"]) == ("flash-doctor/report/1", "broken", 1)
    assert document["findings"][0]["severity"] == "warning"


def test_a_report_written_by_the_first_version_is_still_read() -> None:
    """Fields are only ever added: this document never changes."""
    old = (GOLDEN / "report-1-first.json").read_text(encoding="utf-8")
    validator("report").validate(json.loads(old))
    assert load_report(old).findings == broken().findings


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("findings", 0, "severity"), "fatal"),
        (("findings", 0, "evidence"), "one line"),
        (("verdict",), "fine"),
        (("exit_code",), 7),
        (("score", "value"), "95"),
        (("environment", "gpus"), {"missing": "x"}),
        (("schema",), "flash-doctor/report/2"),
    ],
)
def test_the_schema_refuses_what_no_report_says(path: tuple[Any, ...], value: object) -> None:
    document = json.loads(to_json(report_document(broken(), 1)))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not validator("report").is_valid(document)


@pytest.mark.parametrize("path", [(), ("environment",), ("environment", "host"), ("target",), ("score",)])
def test_an_unknown_key_is_a_fault_named_by_its_path(path: tuple[str, ...]) -> None:
    document = json.loads(to_json(report_document(healthy(), 0)))
    place = document
    for key in path:
        place = place[key]
    place["later"] = {"a": 1}
    validator("report").validate(document)  # other readers may pass over what they do not know
    with pytest.raises(BadInput, match=re.escape(".".join(("$", *path, "later")))):
        load_report(json.dumps(document))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"schema": ' + "9" * 10_000 + "}", "not valid JSON"),
        ('{"schema": NaN}', "not valid JSON"),
        ("[]", "this version of flash-doctor can read"),
        ('{"schema": "flash-doctor/report/2"}', "this version of flash-doctor can read"),
        ('{"schema": "flash-doctor/report/1"}', r"\$\.target: missing"),
        (" " * (64 * 1024 * 1024 + 1), "longer than 64 MiB"),
    ],
    ids=["empty", "half", "deep", "long number", "NaN", "list", "newer", "no target", "huge"],
)
def test_what_is_no_report_is_refused_in_words(text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        load_report(text)


@MANY
@given(st.data())
def test_a_damaged_report_is_refused_or_read_but_never_a_traceback(data: st.DataObject) -> None:
    document = json.loads(to_json(report_document(broken(), 1)))
    place: Any = document
    while isinstance(place, (dict, list)) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or data.draw(st.booleans()):
            place[key] = data.draw(st.one_of(st.none(), st.integers(), st.booleans(), WORDS, st.just({}), st.just([])))
            break
        place = place[key]
    try:
        assert isinstance(load_report(json.dumps(document)), Report)
    except BadInput as error:
        assert str(error)  # noqa: PT017


def test_version_of_many_digits_is_refused_in_words() -> None:
    document = json.loads(to_json(report_document(broken(), 1)))
    document["environment"]["torch"]["version"] = "9" * 5000
    with pytest.raises(BadInput, match="version"):
        load_report(json.dumps(document))


def test_an_error_is_a_document_too() -> None:
    document = error_document(BadInput("no such file", evidence=("/x",), advice="name another"))
    validator("error").validate(document)
    assert document["exit_code"] == 2


def test_every_error_has_a_code_of_the_schema() -> None:
    allowed = schema("error")["properties"]["exit_code"]["enum"]
    kinds: list[type[DoctorError]] = [DoctorError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        assert kind.exit_code in allowed


def test_a_lone_surrogate_of_a_path_survives() -> None:
    value = of_nobody(report(finding("T001", Severity.ERROR, "/tmp/\udcff")))
    assert load_report(to_json(report_document(value, 1))) == value
    assert encode(value)["findings"][0]["subject"] == "/tmp/\udcff"


@pytest.mark.parametrize("key", ["absent", "unknown", "~unknown", "~~absent", "ABSENT"])
def test_a_mapping_is_never_taken_for_something_absent(key: str) -> None:
    for variables in ({key: "value"}, {key: "value", "other": ""}):
        value = report(variables=variables)
        back = load_report(to_json(report_document(value, 0)))
        assert back.environment.variables == variables


def test_a_driver_is_written_as_its_tools_write_it() -> None:
    driver = replace(DRIVER, module=Version("580.95.05"), library=Version("580.97"))
    document = report_document(report(driver=driver), 0)["environment"]["driver"]
    assert (document["module"], document["library"]) == ("580.95.05", "580.97")
    assert driver.version == Version("580.95.5")
    assert load_report(to_json(report_document(report(driver=driver), 0))).environment.driver == driver
