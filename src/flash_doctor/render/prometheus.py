"""A comparison of nodes as metrics, in the text format that the node exporter's textfile collector reads."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from flash_doctor.model.fleet import Effect
from flash_doctor.render.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from flash_doctor.model.fleet import Comparison

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
Sample: TypeAlias = tuple["Mapping[str, str]", int]


def metrics(comparison: Comparison, now: float) -> str:
    """Every metric with its help and type; `now` in seconds since 1970, since the format's own times are refused."""
    lost = [name for each in comparison.lost for name in each.nodes]
    up = [(name, 1) for name in comparison.names] + [(name, 0) for name in lost]
    families: tuple[tuple[str, str, list[Sample]], ...] = (
        ("nodes", "Nodes that were asked.", [({}, len(up))]),
        ("node_up", "1 where a node gave a report, 0 where it did not.", [({"node": n}, v) for n, v in up]),
        ("node_errors", "Errors that the node's own check found.", list(_errors(comparison))),
        ("node_differences", "Differences of a node from what is usual, by their effect.", list(_per_node(comparison))),
        ("difference_nodes", "Nodes that differ in an aspect, by its effect.", list(_per_aspect(comparison))),
        ("verdict", "1 for the verdict that holds.", [({"verdict": comparison.verdict.value}, 1)]),
        ("check_timestamp_seconds", "When this was written.", [({}, int(now))]),
    )
    return "".join(line for name, text, samples in families for line in _family(name, text, samples))


def _family(name: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    full = f"flash_doctor_fleet_{name}"
    yield f"# HELP {full} {text}\n# TYPE {full} gauge\n"
    # two names may be the same when spelt out, and a sample told twice makes the whole file void
    for labels, value in {_labels(labels): value for labels, value in samples}.items():
        yield f"{full}{labels} {value}\n"


def _labels(labels: Mapping[str, str]) -> str:
    words = [f'{key}="{clean(value).translate(_ESCAPES)}"' for key, value in labels.items()]
    return f"{{{','.join(words)}}}" if words else ""


def _errors(comparison: Comparison) -> Iterator[Sample]:
    sick = Counter(name for each in comparison.sick for name in each.nodes)
    yield from (({"node": name}, sick[name]) for name in comparison.names)


def _per_node(comparison: Comparison) -> Iterator[Sample]:
    found = Counter((name, each.effect) for each in comparison.differences for name in each.nodes)
    for name in comparison.names:
        for effect in Effect:
            yield {"node": name, "effect": effect.value}, found[name, effect]


def _per_aspect(comparison: Comparison) -> Iterator[Sample]:
    """An aspect of several values has one sample: labels must be unique, and values are no labels."""
    found: Counter[tuple[str, Effect]] = Counter()
    for each in comparison.differences:
        found[each.aspect, each.effect] += len(each.nodes)
    for (aspect, effect), number in sorted(found.items(), key=lambda item: (item[0][0], item[0][1].value)):
        yield {"aspect": aspect, "effect": effect.value}, number
