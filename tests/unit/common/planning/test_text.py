"""The screen and the JSON: complete, aligned, and never rosier than the numbers."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import pytest

from common.planning.cautions import cautions, meaning, ratio_text
from common.planning.plan import Plan, make_plan
from common.planning.question import Holding, Question, holdings_of
from common.planning.solving import CurvePoint
from common.planning.terminal_chart import HEIGHT, column_chart
from common.planning.text import as_record, as_text
from common.planning.wording import delta_up_text, headline, noise_text, rate_text

ALIKE = Question(holdings=holdings_of([6000] * 4, None), epsilon=8.0, rounds=30, sample_rate=Fraction(1, 10))


def plan_for(**values) -> Plan:
    return make_plan(dataclasses.replace(ALIKE, **values))


def test_each_question_is_answered_in_one_sentence():
    noise = plan_for().groups[0].noise_multiplier
    fixed = {"noise_multiplier": 1.0}
    assert (
        headline(plan_for()) == f"Keeping to epsilon 8.00 over 30 rounds needs noise multiplier {noise:.4f}"
    )
    rounds = plan_for(**fixed, rounds=None).groups[0].rounds
    assert headline(plan_for(**fixed, rounds=None)) == (
        f"Epsilon 8.00 affords {rounds} rounds at noise multiplier 1.0000"
    )
    taken = plan_for(**fixed, epsilon=None)
    assert headline(taken).startswith("30 rounds at noise multiplier 1.0000 take epsilon ")
    assert headline(plan_for(**fixed)).startswith(
        "It fits: 30 rounds at noise multiplier 1.0000 take epsilon"
    )
    assert headline(plan_for(**fixed, rounds=rounds + 1)).endswith(f"which affords {rounds} rounds")


def test_a_budget_for_no_round_is_said_in_words():
    plan = plan_for(noise_multiplier=0.5, epsilon=0.1, rounds=None)
    assert headline(plan) == "Epsilon 0.10 affords not one round at noise multiplier 0.5000"
    assert "cannot afford a single round" in as_text(plan)
    assert meaning(plan) == "No client can afford a single round, so nothing can be learnt."


@pytest.mark.parametrize(
    ("delta", "text"), [(1e-5, "1e-5"), (1 / 123_450, "8.11e-6"), (1.2301e-6, "1.24e-6"), (0.25, "2.5e-1")]
)
def test_a_delta_is_never_rounded_down(delta, text):
    assert delta_up_text(delta) == text
    assert float(text) >= delta


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Fraction(1, 10), "0.1"),
        (Fraction(1, 3), "0.3334"),
        (Fraction(1), "1"),
        (Fraction(1, 10**6), "0.000001"),
    ],
)
def test_a_rate_is_never_rounded_down(rate, text):
    assert rate_text(rate) == text


def test_noise_is_written_with_all_its_decimals():
    assert [noise_text(value) for value in (1.13, 2.0, 1.123456)] == ["1.1300", "2.0000", "1.123456"]


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.178, "0.18"), (0.1701, "0.18"), (0.00994, "0.010"), (41.2, "42"), (1234, "1,300")]
)
def test_a_ratio_is_rounded_up_to_two_digits(ratio, text):
    assert ratio_text(ratio) == text


def test_shared_figures_stand_once_and_the_others_in_a_table():
    lines = as_text(plan_for(holdings=holdings_of([500, 6000], None))).splitlines()
    facts = {line.split()[0]: line.split()[1] for line in lines[2:13]}
    assert (facts["clients"], facts["examples"], facts["q"], facts["rounds"]) == ("2", "below", "0.1", "30")
    head = next(index for index, line in enumerate(lines) if line.startswith("clients  examples"))
    rows = [line.split() for line in lines[head : head + 3]]
    assert [row[1] for row in rows] == ["examples", "500", "6,000"]
    assert len({len(line) for line in lines[head : head + 3]}) == 1


def test_sentences_keep_to_the_width_of_the_terminal():
    for sizes in ([6000] * 4, [500, 6000]):
        lines = as_text(plan_for(holdings=holdings_of(sizes, None))).splitlines()
        assert max(len(line) for line in lines) <= 80
    narrow = as_text(plan_for(), width=60).splitlines()
    assert max(len(line) for line in narrow if line.startswith(("Claim", "In an"))) <= 60


def test_without_block_characters_the_screen_is_ascii():
    assert as_text(plan_for(), ascii_only=True).isascii()
    assert "█" in as_text(plan_for())


def test_the_record_is_strict_json_with_every_answer():
    plan = plan_for(holdings=holdings_of([500, 6000], None))
    record = json.loads(json.dumps(as_record(plan), allow_nan=False))
    assert record["schema"] == "fedledger-plan/1"
    assert record["asked_for"] == "noise"
    assert record["fits"] is True
    assert [group["num_examples"] for group in record["groups"]] == [500, 6000]
    assert record["groups"][0]["sample_rate"] == [1, 10]
    assert record["groups"][0]["curve"][-1] == {"round": 30, "epsilon": plan.groups[0].epsilon}
    assert record["cohort"] == {"clients": 2, "asked": 2, "answering": 2.0}
    assert record["average"] == plan.average
    assert "zero-out" in record["claim"]["adjacency"]


def said(plan: Plan) -> str:
    return "\n".join(cautions(plan))


def test_what_a_reader_should_doubt_is_said():
    assert cautions(plan_for()) == ()
    small = plan_for(holdings=holdings_of([500, 6000, 6000], None))
    assert "The client with 500 examples: too small to help" in said(small)
    large = plan_for(holdings=holdings_of([6000], 1e-4))
    assert "delta is above 1/(10 n)" in said(large)
    empty = plan_for(sample_rate=Fraction(1, 10_000))
    assert "less than one example on average" in said(empty)
    whole = plan_for(sample_rate=None, batch_size=6000)
    assert "random batches give no extra protection" in said(whole)
    beyond = plan_for(holdings=holdings_of([500, 6000], None), noise_multiplier=0.7)
    assert f"ends before the plan does, at the earliest after {beyond.groups[0].affordable} rounds" in said(
        beyond
    )
    assert "charged all the same" in said(plan_for(dropout=0.1))
    assert "a share of 0.4 means 2 a round" in said(plan_for(participation=Fraction(2, 5)))


@pytest.mark.parametrize(
    ("parameters", "words"), [(62_006, "little"), (1_000_000, "clearly felt"), (100_000_000, "drowns")]
)
def test_a_larger_model_drowns_in_noise(parameters, words):
    assert words in meaning(plan_for(num_parameters=parameters))


def test_a_ledgers_plan_counts_what_was_spent():
    from common.privacy.mechanisms import PoissonGaussian

    prior = (PoissonGaussian(noise_multiplier=1.5, sample_rate=Fraction(1, 10), num_steps=20),)
    plan = plan_for(holdings=(Holding(num_examples=6000, delta=1e-5, prior=prior),), whole_federation=False)
    text = as_text(plan)
    assert "over 30 more rounds" in text
    assert "already, which is counted in" in text
    assert as_record(plan)["cohort"] is None


def curve(*values: float) -> list[CurvePoint]:
    return [CurvePoint(round=index, epsilon=value) for index, value in enumerate(values)]


def test_columns_reach_at_least_their_epsilon():
    lines = column_chart(curve(0.0, 1.0, 2.0, 4.0), budget=None, width=4)
    assert lines[:2] == ["       4 ┤   █", "         ┤   █"]
    assert lines[HEIGHT - 1] == "         ┤ ███"
    assert lines[HEIGHT] == "       0 └────"


def test_the_budget_is_a_line_above_what_fits():
    lines = column_chart(curve(0.0, 1.0, 2.0), budget=4.0, width=3)
    assert lines[0] == "       4 ┤┄┄┄ budget"
    assert all("budget" not in line for line in lines[1:])


def test_between_known_rounds_the_later_one_counts():
    far = [CurvePoint(round=0, epsilon=0.0), CurvePoint(round=100, epsilon=8.0)]
    assert column_chart(far, budget=None, width=5)[0] == "       8 ┤ ████"
