import json

import numpy as np
import pytest

from components import gate as gates
from components.artifacts import Check, RegisteredModel
from components.errors import IntegrityError, UsageError
from components.gate import Decision, GateConfig
from components.steps.judge import judge
from tests.registry.variants import a_variant, some_answers


def right(wrong: range, rows: int = 400) -> np.ndarray:
    mask = np.ones(rows, dtype=bool)
    mask[list(wrong)] = False
    return mask


GOOD, MIDDLING, POOR = right(range(20)), right(range(60)), right(range(200))


def check_of(verdict, word: str) -> Check:
    [check] = [check for check in verdict.checks if word in check.rule]
    return check


def test_first_version_must_beat_the_majority(tmp_path):
    candidate = a_variant(tmp_path, right=GOOD)
    verdict = judge(candidate, some_answers(tmp_path, POOR, "majority"), GateConfig())
    assert verdict.passed
    assert verdict.rule == "first"
    assert verdict.rival == "majority"
    assert (verdict.wins, verdict.losses) == (180, 0)
    assert verdict.p_value == pytest.approx(0.5**180)  # exact McNemar: every discordant row is ours


def test_first_version_no_better_than_the_majority_is_refused(tmp_path):
    candidate = a_variant(tmp_path, right=POOR)
    verdict = judge(candidate, some_answers(tmp_path, POOR, "majority"), GateConfig())
    assert not verdict.passed
    assert verdict.p_value == 1.0
    assert "p = 1" in check_of(verdict, "better than majority").observed


def test_linear_is_passed_by_not_being_worse_than_the_margin(tmp_path):
    gate = GateConfig(first="linear")
    same = a_variant(tmp_path, right=GOOD)
    worse = a_variant(tmp_path, right=right(range(40)))
    linear = some_answers(tmp_path, GOOD, "linear")
    assert judge(same, linear, gate).passed
    assert not judge(worse, linear, gate).passed


def test_another_baseline_than_the_gate_names_is_refused(tmp_path):
    candidate = a_variant(tmp_path, right=GOOD)
    with pytest.raises(UsageError, match="'majority', not with 'linear'"):
        judge(candidate, some_answers(tmp_path, POOR, "linear"), GateConfig())


def test_better_than_the_champion_passes(tmp_path):
    candidate = a_variant(tmp_path / "a", right=GOOD)
    champion = a_variant(tmp_path / "b", right=MIDDLING, seed=1)
    verdict = judge(candidate, champion, GateConfig(), champion=3)
    assert verdict.passed
    assert verdict.rival == "champion v3"
    assert verdict.difference.value == pytest.approx(0.1)


@pytest.mark.parametrize("mine", [MIDDLING, right(range(57)), right(range(70))])
def test_a_gain_that_chance_explains_does_not_pass(tmp_path, mine):
    candidate = a_variant(tmp_path / "a", right=mine)
    champion = a_variant(tmp_path / "b", right=MIDDLING, seed=1)
    assert not judge(candidate, champion, GateConfig()).passed


def test_a_better_but_too_large_candidate_is_refused_by_that_check_alone(tmp_path):
    candidate = a_variant(tmp_path / "a", right=GOOD, size=5000)
    champion = a_variant(tmp_path / "b", right=MIDDLING, size=1000)
    verdict = judge(candidate, champion, GateConfig(max_size_ratio=2.0))
    assert not verdict.passed
    assert [check.rule for check in verdict.checks if not check.passed] == [
        "size relative to the champion <= 2"
    ]
    assert judge(candidate, champion, GateConfig(max_size_ratio=5.0)).passed


def test_limits_hold_for_size_latency_and_accuracy(tmp_path):
    candidate = a_variant(tmp_path, right=GOOD, size=1000, ms=4.0)
    majority = some_answers(tmp_path, POOR, "majority")
    tight = GateConfig(max_size_bytes=999, max_latency_ms=3.9, min_accuracy=0.96)
    verdict = judge(candidate, majority, tight)
    assert [check.passed for check in verdict.checks] == [True, False, False, False]
    assert check_of(verdict, "latency").observed == "4"
    loose = GateConfig(max_size_bytes=1000, max_latency_ms=4, min_accuracy=0.95)
    assert judge(candidate, majority, loose).passed


def test_an_unmeasured_latency_does_not_pass_a_limit(tmp_path):
    candidate = a_variant(tmp_path, right=GOOD, ms=None)
    majority = some_answers(tmp_path, POOR, "majority")
    verdict = judge(candidate, majority, GateConfig(max_latency_ms=100))
    assert not verdict.passed
    assert check_of(verdict, "latency").observed == "not measured"


def busy(variant, cpu_ms):
    """The same variant, measured while others wanted the processor."""
    made = variant.measured.made
    facts = made.facts | {"cpu_ms": {"batch_1_p50": cpu_ms, "batch_32_p50": cpu_ms}}
    made = made.model_copy(update={"facts": facts})
    measured = variant.measured.model_copy(update={"made": made})
    return variant.model_copy(update={"measured": measured})


def test_a_busy_machine_refuses_nobody(tmp_path):
    """The clock counts the neighbours, the processor's time does not."""
    gate = GateConfig(max_latency_ms=1.5, max_latency_ratio=2.0)
    candidate = a_variant(tmp_path / "a", right=GOOD, ms=30.0)
    champion = a_variant(tmp_path / "b", right=MIDDLING, seed=1, ms=1.0)
    assert not judge(candidate, champion, gate, champion=3).passed
    candidate, champion = busy(candidate, 1.1), busy(champion, 1.0)
    verdict = judge(candidate, champion, gate, champion=3)
    assert verdict.passed
    assert check_of(verdict, "latency relative").observed == "1.1"
    slow = judge(busy(candidate, 2.5), champion, gate, champion=3)
    assert check_of(slow, "latency relative").observed == "2.5"
    assert not slow.passed


def test_non_inferior_needs_a_smaller_or_faster_model(tmp_path):
    gate = GateConfig(rule="non_inferior", smaller_or_faster=1.5)
    champion = a_variant(tmp_path / "c", right=MIDDLING, size=1000, ms=1.0)
    equal = a_variant(tmp_path / "e", right=MIDDLING, size=1000, ms=1.0)
    smaller = a_variant(tmp_path / "s", right=MIDDLING, size=500, ms=1.0)
    faster = a_variant(tmp_path / "f", right=MIDDLING, size=1000, ms=0.5)
    worse = a_variant(tmp_path / "w", right=POOR, size=500, ms=0.5)
    assert not judge(equal, champion, gate).passed
    assert judge(smaller, champion, gate).passed
    assert judge(faster, champion, gate).passed
    assert not judge(worse, champion, gate).passed


def test_not_to_be_worse_is_enough_where_the_gate_says_so(tmp_path):
    gate = GateConfig(rule="non_inferior", margin=0.1, smaller_or_faster=None)
    champion = a_variant(tmp_path / "c", right=MIDDLING, size=1000, ms=1.0)
    equal = a_variant(tmp_path / "e", right=MIDDLING, size=1000, ms=1.0)
    worse = a_variant(tmp_path / "w", right=POOR, size=500, ms=0.5)
    assert judge(equal, champion, gate).passed
    assert not judge(worse, champion, gate).passed


def test_answers_to_other_rows_are_not_compared(tmp_path):
    candidate = a_variant(tmp_path, right=GOOD)
    other = some_answers(tmp_path, POOR, "majority").model_copy(update={"data": "e" * 64})
    with pytest.raises(UsageError, match="different data"):
        judge(candidate, other, GateConfig())


def test_the_gate_reads_test_rows_only(tmp_path):
    candidate = a_variant(tmp_path, right=GOOD)
    with pytest.raises(UsageError, match="the gate reads test rows"):
        judge(candidate, some_answers(tmp_path, POOR, "majority", "val"), GateConfig())
    untested = candidate.model_copy(update={"test": None})
    with pytest.raises(UsageError, match="no predictions on test rows"):
        judge(untested, some_answers(tmp_path, POOR, "majority"), GateConfig())


def a_version(bundle: str = "b" * 64, version: int = 2) -> RegisteredModel:
    return RegisteredModel(name="reviews", version=version, bundle=bundle, run_key="k")


def test_a_decision_is_found_by_version_and_gate(tmp_path):
    gate = GateConfig()
    decision = Decision(registered=a_version(), gate=gate.digest, outcome="unchanged")
    assert gates.stored_decision(a_version(), gate) is None
    gates.store_decision(decision)
    assert gates.stored_decision(a_version(), gate) == decision
    assert gates.stored_decision(a_version(), GateConfig(alpha=0.01)) is None
    assert gates.stored_decision(a_version(version=3), gate) is None


def test_finding_the_champion_again_does_not_replace_a_verdict(tmp_path):
    gate = GateConfig()
    rival = some_answers(tmp_path, POOR, "majority")
    verdict = judge(a_variant(tmp_path, right=GOOD), rival, gate)
    promoted = Decision(
        registered=a_version(), gate=gate.digest, outcome="promoted", verdict=verdict
    )
    unchanged = Decision(registered=a_version(), gate=gate.digest, outcome="unchanged")
    gates.store_decision(promoted)
    gates.store_decision(unchanged)
    assert gates.stored_decision(a_version(), gate) == promoted
    gates.store_decision(promoted.model_copy(update={"outcome": "refused"}))
    assert gates.stored_decision(a_version(), gate).outcome == "refused"


def test_a_decision_on_another_bundle_of_the_same_number_does_not_count():
    gate = GateConfig()
    gates.store_decision(Decision(registered=a_version(), gate=gate.digest, outcome="refused"))
    assert gates.stored_decision(a_version(bundle="c" * 64), gate) is None


def test_a_damaged_decision_is_named(home):
    gate = GateConfig()
    gates.store_decision(Decision(registered=a_version(), gate=gate.digest, outcome="refused"))
    [file] = (home / "decisions").rglob("*.json")
    value = json.loads(file.read_bytes())
    file.write_text(json.dumps({**value, "outcome": "maybe"}))
    with pytest.raises(IntegrityError, match=file.name):
        gates.stored_decision(a_version(), gate)
