"""Every rule fires once and stays quiet once where it applied; the facts and the code name the same rules."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from flash_doctor.facts.frameworks import load_axolotl
from flash_doctor.preflight.document import Malformed, read_document
from flash_doctor.preflight.judge import SYNTAX
from flash_doctor.preflight.registry import RULES
from flash_doctor.preflight.rules import load_rules
from preflight_bench import CASES, FACTS, config_of, mutate, scene_of

load_rules()


@cache
def outcomes() -> tuple[frozenset[str], frozenset[str]]:
    """(rules that found something, rules that looked and found nothing) over every case and mutation."""
    fired: set[str] = set()
    quiet: set[str] = set()
    with TemporaryDirectory() as scratch:
        folders = [path.parent for path in CASES.glob("*/config.yaml")]
        for source in CASES.glob("mutations*.json"):
            for index, change in enumerate(json.loads(source.read_text())):
                folders.append(mutate(change["base"], Path(scratch) / f"{source.stem}{index}", change))
        for folder in folders:
            if isinstance(read_document(config_of(folder)), Malformed):
                fired.add(SYNTAX)
                continue
            quiet.add(SYNTAX)
            scene = scene_of(folder)
            for code, rule in RULES.items():
                answer = rule.apply(scene, FACTS)
                if answer.findings:
                    fired.add(code)
                elif answer.applies and not answer.unchecked:
                    quiet.add(code)
    return frozenset(fired), frozenset(quiet)


@pytest.mark.parametrize("code", sorted(FACTS.rules))
def test_fires_once_and_stays_quiet_once(code: str) -> None:
    fired, quiet = outcomes()
    assert code in fired
    assert code in quiet


def test_seventy_rules_are_both_in_the_facts_and_in_the_code() -> None:
    assert set(RULES) | {SYNTAX} == set(FACTS.rules)
    assert len(FACTS.rules) == 70


def test_the_facts_hold_their_invariants() -> None:
    assert FACTS.conditions.limits["disk_yellow"] < FACTS.conditions.limits["disk_red"]
    assert FACTS.conditions.state_bytes("adamw_torch_fused") == 8.0
    assert FACTS.conditions.state_bytes("paged_adamw_8bit") == 2.0
    assert FACTS.conditions.optimizer_package("paged_adamw_8bit") == "bitsandbytes"
    assert not FACTS.conditions.optimizer_package("adamw_torch")


def test_seven_releases_of_axolotl_are_known() -> None:
    keys = load_axolotl(FACTS.folder / "axolotl.toml")
    assert len(keys.releases) == 7
    assert [len(keys.schema(release).top) > 250 for release in keys.releases] == [True] * 7
    oldest, newest = keys.schema(keys.releases[0]), keys.schema(None)
    assert "attn_implementation" not in oldest.top
    assert "attn_implementation" in newest.top
    assert newest.plugin_of("liger_rope") == "liger"
    assert newest.release == keys.releases[-1]
