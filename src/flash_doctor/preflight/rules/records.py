"""Records: their fields, their turns, and whether anything in them is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flash_doctor.model import Severity
from flash_doctor.preflight.registry import AXOLOTL, Found, rule
from flash_doctor.preflight.rules.data import (
    base_of,
    better_type,
    dataset_of,
    is_chat,
    lines,
    mapping,
    messages_key,
    misfits,
    readable,
    type_of,
)

if TYPE_CHECKING:
    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import DataRow, Sample

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
_CHARACTERS = 3.6  # of a token, roughly
_SAME = {"system": "system", "tool": "tool"}


def turns(record: DataRow, key: str) -> list[Mapping[str, Any]]:
    value = record.value.get(key)
    return [turn for turn in value if isinstance(turn, Mapping)] if isinstance(value, list) else []


@rule("PF-data-field", dialects=AXOLOTL)
def fields(run: Run, samples: tuple[Sample, ...], facts: PreflightFacts) -> Iterator[Found]:
    if run.on("skip_prepare_dataset") or run.get("rl"):
        return
    for sample in readable(samples):
        dataset = dataset_of(run, sample)
        if isinstance(dataset.get("type"), Mapping):
            yield from _user_defined(sample, dataset["type"])
            continue
        why = misfits(run, sample, facts.conditions)
        if why and not better_type(sample, type_of(run, sample), facts.conditions):
            yield _column(run, sample, why)
        elif is_chat(run, sample) and not why:
            yield from _message_keys(run, sample)
        if is_chat(run, sample) and dataset.get("field"):
            yield Found(
                key=f"{sample.key}/field",
                severity=Severity.INFO,
                summary="field is ignored by chat_template",
                remedy="Delete it; field_messages names the column of the messages.",
            )


def _column(run: Run, sample: Sample, why: tuple[str, ...]) -> Found:
    key, remedy = f"{sample.key}/type", "Name the column that the rows have."
    if is_chat(run, sample):
        key = f"{sample.key}/field_messages"
        column = next((name for name in ("messages", "conversations") if name in sample.columns), "")
        remedy = f"field_messages: {column}" if column else remedy
    return Found(
        key=key, summary=f"the rows of {sample.path} lack a field that their type needs", evidence=why, remedy=remedy
    )


def _user_defined(sample: Sample, kind: Mapping[str, Any]) -> Iterator[Found]:
    for name, column in kind.items():
        if name in ("field_output", "field_instruction") and isinstance(column, str) and column not in sample.columns:
            empty = " and training would go on with empty outputs" if name == "field_output" else ""
            yield Found(
                key=f"{sample.key}/type/{name}",
                summary=f"no row has the column {column}{empty}",
                evidence=(f"columns: {', '.join(sorted(sample.columns)[:8])}",),
                remedy=f"{name}: the column that holds it",
            )


def _message_keys(run: Run, sample: Sample) -> Iterator[Found]:
    role, content = mapping(run, sample)
    for record in sample.records:
        for turn in turns(record, messages_key(run, sample)):
            absent = [
                key for key in (role, content) if key not in turn and not (key == content and "tool_calls" in turn)
            ]
            if absent:
                has = "{role: from, content: value}" if {"from", "value"} <= set(turn) else "{role: …, content: …}"
                yield Found(
                    key=f"{sample.key}/message_property_mappings",
                    summary=f"messages have no {' and no '.join(absent)}",
                    evidence=(f"{sample.path}:{record.number}: a message has the keys {', '.join(turn)}",),
                    remedy=f"message_property_mappings: {has}",
                )
                return


def roles(run: Run, sample: Sample) -> dict[str, str]:
    """Role in the data to role in the template: axolotl's own map, or the dataset's."""
    named = dataset_of(run, sample).get("roles")
    if not isinstance(named, Mapping):
        return {**_ROLES, **_SAME}
    return {str(source): str(target) for target, sources in named.items() for source in _listed(sources)}


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


@rule("PF-data-no-trainable", dialects=AXOLOTL)
def nothing_trained(run: Run, samples: tuple[Sample, ...]) -> Iterator[Found]:
    for sample in readable(samples):
        dataset = dataset_of(run, sample)
        marked = dataset.get("message_field_training") or dataset.get("message_field_training_detail")
        if not is_chat(run, sample) or marked or run.on("train_on_inputs"):
            continue
        named = dataset.get("roles_to_train")
        trained = {"assistant"} if named is None else {str(role) for role in _listed(named)}
        known, role = roles(run, sample), mapping(run, sample)[0]
        seen: Counter[str] = Counter()
        idle = []
        for record in sample.records:
            said = [str(turn[role]) for turn in turns(record, messages_key(run, sample)) if role in turn]
            seen.update(said)
            if said and not any(known.get(each, each) in trained for each in said):
                idle.append(record.number)
        if idle:
            yield _idle(sample, idle, seen, trained)
        else:
            yield from _cut_away(run, sample, known, trained)


def _cut_away(run: Run, sample: Sample, known: Mapping[str, str], trained: set[str]) -> Iterator[Found]:
    """Rows whose prompt alone is longer than sequence_len: what is trained is cut off behind it."""
    if run.get("excess_length_strategy") != "truncate":
        return
    role, content = mapping(run, sample)
    room = run.count("sequence_len", 512) * _CHARACTERS
    late = []
    for record in sample.records:
        before = 0
        for turn in turns(record, messages_key(run, sample)):
            if known.get(str(turn.get(role)), str(turn.get(role))) in trained:
                break
            before += len(str(turn.get(content) or ""))
        if before > room:
            late.append(record.number)
    if late:
        yield Found(
            key="excess_length_strategy",
            severity=None if len(late) == len(sample.records) else Severity.WARNING,
            summary=f"in {len(late)} of {len(sample.records)} rows the prompt alone is longer than sequence_len",
            evidence=(f"{sample.path}: records {lines(late)}", "truncate keeps the beginning: the answer is cut off"),
            remedy="Raise sequence_len, or excess_length_strategy: drop.",
        )


def _idle(sample: Sample, idle: list[int], seen: Counter[str], trained: set[str]) -> Found:
    everywhere = len(idle) == len(sample.records)
    roles_seen = ", ".join(f"{role} ({count})" for role, count in seen.most_common(6))
    return Found(
        key=f"{sample.key}/roles_to_train",
        severity=None if everywhere else Severity.WARNING,
        summary="no turn of any row is trained: the loss would be 0"
        if everywhere
        else f"{len(idle)} of {len(sample.records)} rows have no turn that is trained",
        evidence=(
            f"roles in the data: {roles_seen}",
            f"trained roles: {', '.join(sorted(trained)) or '(none)'}",
            f"{sample.path}: records {lines(idle)}",
        ),
        remedy="Map the role that answers, as in roles: {user: [human], assistant: [model]}; "
        "roles_to_train: [assistant].",
    )


@rule("PF-data-empty-turn", dialects=AXOLOTL)
def empty_turns(run: Run, samples: tuple[Sample, ...], facts: PreflightFacts) -> Iterator[Found]:
    for sample in readable(samples):
        if run.get("rl") or misfits(run, sample, facts.conditions):
            continue
        find = _chat_faults if is_chat(run, sample) else _text_faults
        broken: list[tuple[int, str]] = []
        blank: list[tuple[int, str]] = []
        for record in sample.records:
            for severe, why in find(run, sample, record):
                (broken if severe else blank).append((record.number, why))
        for group, severity in ((broken, None), (blank, Severity.WARNING)):
            if group:
                yield Found(
                    key=f"{sample.key}/path",
                    severity=severity,
                    summary=f"{sample.path}: {group[0][1]} in {len(group)} of the records read",
                    evidence=(f"records {lines([number for number, _ in group])}",),
                    remedy="Remove these records, or fill them.",
                )


def _chat_faults(run: Run, sample: Sample, record: DataRow) -> Iterator[tuple[bool, str]]:
    key, (role, content) = messages_key(run, sample), mapping(run, sample)
    if record.value.get(key) == []:
        yield True, "an empty list of messages"
    for turn in turns(record, key):
        if content not in turn:
            continue
        text = turn[content]
        if text is None and not turn.get("tool_calls"):
            yield True, "a message without content"
        elif text is not None and not isinstance(text, (str, list)):
            yield True, f"a message whose content is a {type(text).__name__}"
        elif isinstance(text, str) and not text.strip() and roles(run, sample).get(str(turn.get(role))) == "assistant":
            yield False, "an empty answer"


def _text_faults(run: Run, sample: Sample, record: DataRow) -> Iterator[tuple[bool, str]]:
    kind = base_of(type_of(run, sample))
    answer = "output" if kind.startswith("alpaca") else str(dataset_of(run, sample).get("field") or "text")
    if kind.startswith("alpaca") or kind == "completion":
        text = record.value.get(answer, "")
        if text is None or not isinstance(text, str):
            yield True, f"{answer} that is no text"
        elif not text.strip():
            yield False, f"an empty {answer}"
