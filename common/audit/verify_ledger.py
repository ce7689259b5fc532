"""Hold one client's ledger against the settings, and its charges against the rules they claim to follow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from common.audit.findings import Finding, error, note, warning
from common.audit.history import Charge, ClientLedger
from common.audit.records import RunRecords
from common.audit.spending import Spent
from common.audit.wording import budget_text, delta_text, epsilon_text
from common.config import PrivacySettings, RunConfig, TrainingSettings
from common.ledger import Amend, Genesis
from common.privacy.budget import default_delta
from common.privacy.mechanisms import Gaussian, Laplace, PoissonGaussian
from common.words import counted

UNPREDICTABLE_NOISE = "chacha20"
REPRODUCIBLE_NOISE = "reproducible"
POISSON = "poisson"

_CLIPPED = PoissonGaussian | Gaussian | Laplace
"""Mechanisms that a clip must limit; a count moves by one image at most without it."""

_TOLERANCE = 1e-9
_ACCOUNTANT_TOLERANCE = 1e-6
"""Share by which an epsilon may differ between machines, whose Fourier transforms round differently."""


def check_ledger(ledger: ClientLedger, records: RunRecords, run: str) -> Iterator[Finding]:
    """Yield what is wrong with one ledger, naming the first entry that shows it."""
    yield from _delta_size(ledger)
    if records.config is not None:
        yield from _terms(ledger, records.config.privacy, given=records.partitions is not None)
    yield from _size(ledger, records, run)
    seen: set[str] = set()
    for charge in _different_charges(ledger):
        found = [*_rules(ledger, charge)]
        if records.config is not None and charge.body.run == run:
            found += _settings(ledger, charge, records.config)
        yield from (finding for finding in found if finding.code not in seen)
        seen |= {finding.code for finding in found}


def check_spending(ledger: ClientLedger, spent: Spent) -> Iterator[Finding]:
    """Yield what a client's epsilon says against its budget and against the second calculation."""
    budget, who = ledger.view.genesis.budget_epsilon, f"Client {ledger.partition_id}"
    if budget is not None and spent.epsilon > budget * (1 + _ACCOUNTANT_TOLERANCE):
        shown, limit = epsilon_text(spent.epsilon, budget=budget), budget_text(budget)
        text = f"{who} has spent epsilon {shown}, above its budget of {limit}."
        yield error("budget-exceeded", text, ledger.place)
    rdp = spent.epsilon_rdp
    if rdp is not None and rdp < 0.97 * spent.epsilon - 0.01:
        yield warning(
            "accountants-disagree",
            f"Two independent calculations of what client {ledger.partition_id} spent differ: "
            f"{epsilon_text(spent.epsilon)} against {epsilon_text(rdp)}, which should be the larger one.",
            ledger.place,
        )


def _terms(ledger: ClientLedger, privacy: PrivacySettings, *, given: bool) -> Iterator[Finding]:
    """Hold budget and delta against the settings.

    Args:
        given: whether the settings gave the clients their terms, as in a simulation; a real site has its own,
            and to differ from a server's is its right, as long as it has a budget at all.
    """
    genesis = ledger.view.genesis
    who, n = f"Client {ledger.partition_id}", genesis.num_examples
    where = f"{ledger.place} entry 0"
    expected = default_delta(n) if privacy.delta == "auto" else privacy.delta
    if not _close(genesis.delta, expected):
        text = (
            f"{who} counts with delta {delta_text(genesis.delta)}, the settings say {delta_text(expected)}."
        )
        kind = error if given else warning
        yield kind("delta-differs", text, where)
    budget = privacy.epsilon if privacy.enabled else None
    if genesis.budget_epsilon != budget:
        smaller = genesis.budget_epsilon is not None and (budget or 0) >= genesis.budget_epsilon
        own = not given and None not in (genesis.budget_epsilon, budget)
        kind = warning if smaller or own else error
        ours, theirs = _budget(genesis.budget_epsilon), _budget(budget)
        yield kind("budget-differs", f"{who} has {ours} in its ledger, the settings say {theirs}.", where)


def _budget(budget: float | None) -> str:
    return "no budget" if budget is None else f"a budget of {budget_text(budget)}"


def _delta_size(ledger: ClientLedger) -> Iterator[Finding]:
    """Hold delta against the largest size that the data set ever had, which is the strictest."""
    sizes = [(body.num_examples, number) for number, body in _sizes(ledger)]
    (n, number), delta = max(sizes, key=lambda size: size[0]), ledger.view.genesis.delta
    where = ledger.at(number)
    who = f"Client {ledger.partition_id} has {counted(n, 'image')} and delta {delta_text(delta)}"
    if delta * n > 1 + _TOLERANCE:
        yield error("delta-too-large", f"{who}: above 1/n, publishing an image at random would pass.", where)
    elif delta * n * 10 > 1 + _TOLERANCE:
        yield note("delta-large", f"{who}: at most 1/(10 n) is the custom, so this promises less.", where)


def _sizes(ledger: ClientLedger) -> list[tuple[int, Genesis | Amend]]:
    return [(e.sequence, e.body) for e in ledger.view.entries if isinstance(e.body, Genesis | Amend)]


def _size(ledger: ClientLedger, records: RunRecords, run: str) -> Iterator[Finding]:
    """Hold the size stated for a run against what its simulator gave the client."""
    if records.partitions is None:
        return
    counts = records.partitions.counts
    charges = [charge for charge in ledger.charges if charge.body.run == run]
    stated = charges[-1].num_examples if charges else ledger.view.num_examples
    if ledger.partition_id >= len(counts):
        text = f"Client {ledger.partition_id} has a ledger, but the run gave it no images."
        yield warning("unknown-client", text, ledger.place)
    elif sum(counts[ledger.partition_id]) != stated:
        given = sum(counts[ledger.partition_id])
        text = f"Client {ledger.partition_id} states {stated} images, but was given {given}."
        yield error("size-differs", text, ledger.entry(charges[-1]) if charges else ledger.at(0))


def _different_charges(ledger: ClientLedger) -> list[Charge]:
    """Return the first of each kind of charge, since most rounds of a run are alike."""
    first: dict[object, Charge] = {}
    for charge in ledger.charges:
        body = charge.body
        kind = (
            body.run,
            body.mechanisms,
            body.max_grad_norm,
            body.normaliser,
            body.sampler,
            body.noise_source,
            charge.num_examples,
        )
        first.setdefault(kind, charge)
    return list(first.values())


def _rules(ledger: ClientLedger, charge: Charge) -> Iterator[Finding]:
    """Yield where a charge breaks a condition under which its epsilon was computed."""
    body, where, who = charge.body, ledger.entry(charge), f"Client {ledger.partition_id}"
    if not charge.protected:
        return
    if body.sampler != POISSON and _rates(charge):
        text = (
            f"{who} did not choose each image by chance in every step, so its epsilon is larger than shown."
        )
        yield error("sampler-not-poisson", text, where)
    if body.noise_source not in {UNPREDICTABLE_NOISE, REPRODUCIBLE_NOISE}:
        text = f"{who} claims protection by noise, but names no source that could make any."
        yield error("noise-missing", text, where)
    if body.max_grad_norm is None and any(isinstance(m, _CLIPPED) for m in body.mechanisms):
        text = f"{who} did not limit how far one image moves the model, so noise does not protect it."
        yield error("clip-missing", text, where)
    if any(body.normaliser != charge.num_examples * rate for rate in _rates(charge)):
        text = f"{who} divides by {float(body.normaliser):g} and not by its public expected batch size."
        yield error("normaliser-differs", text, where)


def _settings(ledger: ClientLedger, charge: Charge, config: RunConfig) -> Iterator[Finding]:
    """Yield where a charge of this run is not what the run's settings say."""
    body, where = charge.body, ledger.entry(charge)
    if charge.protected != config.privacy.enabled:
        said, did = ("with", "without") if config.privacy.enabled else ("without", "with")
        text = f"The settings say {said} privacy, but client {ledger.partition_id} trained {did} it."
        yield error("protection-differs", text, where)
        return
    rate = _planned_rate(config.training, charge.num_examples)
    steps = sum(mechanism.num_steps for mechanism in body.mechanisms)
    planned_steps = _planned_steps(config.training, rate)
    if steps != planned_steps:
        yield _differs("steps-differ", ledger, charge, "steps a round", steps, planned_steps)
    for recorded in _rates(charge):
        if recorded != rate:
            yield _differs("sample-rate-differs", ledger, charge, "sampling chance", recorded, rate)
    if charge.protected:
        yield from _protection(ledger, charge, config)


def _protection(ledger: ClientLedger, charge: Charge, config: RunConfig) -> Iterator[Finding]:
    body, privacy = charge.body, config.privacy
    if body.max_grad_norm is not None and not _close(body.max_grad_norm, privacy.max_grad_norm):
        clips = (body.max_grad_norm, privacy.max_grad_norm)
        yield _differs("clip-differs", ledger, charge, "clipping bound", *clips)
    for mechanism in body.mechanisms:
        fixed, used = privacy.noise_multiplier, getattr(mechanism, "noise_multiplier", None)
        if fixed != "auto" and used is not None and not _close(used, fixed):
            yield _differs("noise-multiplier-differs", ledger, charge, "noise multiplier", used, fixed)
    expected = REPRODUCIBLE_NOISE if privacy.reproducible_noise else UNPREDICTABLE_NOISE
    if body.noise_source != expected:
        yield _differs("noise-source-differs", ledger, charge, "noise source", body.noise_source, expected)


def _differs(
    code: str, ledger: ClientLedger, charge: Charge, name: str, recorded: object, planned: object
) -> Finding:
    message = f"Client {ledger.partition_id} recorded the {name} {recorded}, but the settings say {planned}."
    return error(code, message, ledger.entry(charge))


def _rates(charge: Charge) -> list[Fraction]:
    return [m.sample_rate for m in charge.body.mechanisms if isinstance(m, PoissonGaussian)]


def _planned_rate(training: TrainingSettings, num_examples: int) -> Fraction:
    if training.batch_size == "off":
        return Fraction(str(training.sample_rate))
    return min(Fraction(1), Fraction(training.batch_size, num_examples))


def _planned_steps(training: TrainingSettings, rate: Fraction) -> int:
    if training.local_steps != "off":
        return training.local_steps
    return math.ceil(Fraction(int(training.local_epochs)) / rate)


def _close(value: float, expected: float) -> bool:
    return math.isclose(value, expected, rel_tol=_TOLERANCE)
