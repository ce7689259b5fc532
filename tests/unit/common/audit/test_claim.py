"""What the epsilon rests on."""

from __future__ import annotations

from common.audit.claim import CLAIM, assumptions


def _broken(**changes: object) -> list[str]:
    facts = {
        "samplers": ("poisson",),
        "noise_sources": ("chacha20",),
        "protected": True,
        "broken": (),
    } | changes
    return [assumption.text for assumption in assumptions(**facts) if assumption.holds == "broken"]  # type: ignore[arg-type]


def test_nothing_is_broken_in_a_faithful_run() -> None:
    assert _broken() == []


def test_what_the_records_contradict_is_broken() -> None:
    assert _broken(noise_sources=("reproducible",)) == ["Nobody can predict the noise."]
    assert len(_broken(protected=False)) == 3
    assert _broken(broken=("charge-missing",)) == ["Every update that was used is in a ledger."]
    assert len(_broken(broken=("delta-too-large", "normaliser-differs"))) == 2
    assert len(_broken(samplers=("poisson", "shuffle"))) == 1


def test_what_no_audit_can_see_is_never_called_checked() -> None:
    states = {a.text: a.holds for a in assumptions(samplers=(), noise_sources=(), protected=True, broken=())}
    assert states["Computer arithmetic does not give the noise away."] == "not checkable"
    assert len(CLAIM.undetectable) >= 4
