"""Every rule fires once and stays quiet once where it applied; the facts and the code name the same rules."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadFacts
from flash_doctor.facts.frameworks import load_axolotl
from flash_doctor.facts.preflight import PreflightFacts
from flash_doctor.preflight.judge import SYNTAX
from flash_doctor.preflight.registry import RULES
from preflight_bench import CASES, FACTS, scene_of

if TYPE_CHECKING:
    from pathlib import Path

RULES.load()


@cache
def expected() -> frozenset[str]:
    """Rules that some case or mutation is expected to fire, and by test_preflight_cases does."""
    cases = [json.loads(path.read_text()) for path in CASES.glob("*/expected.json")]
    changes = [change for path in CASES.glob("mutations*.json") for change in json.loads(path.read_text())]
    return frozenset(each["id"] for case in cases for each in case["findings"]) | frozenset(
        code for change in changes for code in change["expect"]
    )


@cache
def quiet() -> frozenset[str]:
    """Rules that looked at some case and found nothing."""
    scenes = [scene_of(path.parent) for path in CASES.glob("*/config.yaml")]
    results = [rule.judge(scene, FACTS) for scene in scenes for rule in RULES.values()]
    looked = {result.rule.code for result in results if result.made and not result.findings}
    return frozenset(looked | {SYNTAX})  # every scene came from a file without a fault


@pytest.mark.parametrize("code", sorted(FACTS.rules))
def test_fires_once_and_stays_quiet_once(code: str) -> None:
    assert code in expected(), f"add a change to tests/preflight_cases/mutations-own.json that makes {code} fire"
    assert code in quiet(), f"add a configuration to tests/preflight_cases on which {code} is made and quiet"


def test_each_rule_is_both_in_the_facts_and_in_the_code() -> None:
    assert set(RULES) | {SYNTAX} == set(FACTS.rules)


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


def test_a_rule_without_words_or_with_a_wrong_one_is_refused(tmp_path: Path) -> None:
    text = (FACTS.folder / "rules.toml").read_text().replace('severity = "error"', 'severity = "fatal"', 1)
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(BadFacts, match=r"rules.toml: rules.PF-yaml-syntax: severity"):
        _ = PreflightFacts(tmp_path).rules


def test_a_pattern_that_is_none_is_refused(tmp_path: Path) -> None:
    text = (FACTS.folder / "conditions.toml").read_text().replace('pattern = "q_galore_.*"', 'pattern = "(("')
    (tmp_path / "conditions.toml").write_text(text)
    with pytest.raises(BadFacts, match=r"conditions.toml: optimizers.1: pattern"):
        _ = PreflightFacts(tmp_path).conditions
