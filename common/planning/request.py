"""What was typed becomes a question: left-out values from the settings' defaults, or from a ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from common.config import FederationSettings, PrivacySettings, TrainingSettings
from common.errors import ConfigError
from common.planning.question import DEFAULT_PARAMETERS, Holding, Question, holdings_of
from common.planning.sources import LedgerTerms, sizes_of_partitions, sizes_of_text, terms_of_ledger

_DELTA_AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was typed; None where an option was left out."""

    examples: str | None = None
    clients: int | None = None
    partitions: Path | None = None
    ledger: Path | None = None
    budget: float | None = None
    epsilon: float | None = None
    delta: str | None = None
    rounds: int | None = None
    noise_multiplier: float | None = None
    sample_rate: float | None = None
    batch_size: int | None = None
    steps: int | None = None
    participation: float | None = None
    dropout: float = 0.0
    parameters: int = DEFAULT_PARAMETERS


def question_of(request: Request) -> Question:
    """Fill what was left out with the settings' defaults, or with what a ledger fixes.

    Raises:
        ConfigError: when something is missing, contradictory or out of its range.
        LedgerError: when the ledger cannot be used.
    """
    _refuse_contradictions(request)
    if request.ledger is None:
        return _question(_with_defaults(request), _holdings(request), _sample_rate(request, None))
    terms = terms_of_ledger(request.ledger).lowered_to(request.budget)
    filled = _with_terms(request, terms)
    return _question(filled, (terms.holding,), _sample_rate(request, terms))


def _question(request: Request, holdings: tuple[Holding, ...], rate: Fraction | None) -> Question:
    federation = FederationSettings()
    share = federation.fraction_train if request.participation is None else request.participation
    return Question(
        holdings=holdings,
        epsilon=request.epsilon,
        rounds=request.rounds,
        noise_multiplier=request.noise_multiplier,
        sample_rate=rate,
        batch_size=request.batch_size,
        steps=_default_steps() if request.steps is None else request.steps,
        participation=_exact("participation", share),
        dropout=request.dropout,
        num_parameters=request.parameters,
        whole_federation=request.ledger is None,
    )


def _refuse_contradictions(request: Request) -> None:
    sources = {
        "--examples": request.examples,
        "--partitions": request.partitions,
        "--ledger": request.ledger,
    }
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} both say how many examples there are: give one of them")
    if not given:
        raise ConfigError(
            "the number of examples is missing: give --examples 6000, or --partitions RUN, or --ledger FILE"
        )
    if request.clients is not None and request.examples is None:
        raise ConfigError(f"--clients is given, but {given[0]} says how many there are: leave out --clients")
    if request.budget is not None and request.ledger is None:
        raise ConfigError("--budget lowers that of a --ledger: name the ledger, or give --epsilon instead")
    if request.sample_rate is not None and request.batch_size is not None:
        raise ConfigError("--sample-rate and --batch-size are both given: give one, the other follows from n")


def _with_defaults(request: Request) -> Request:
    """Take the settings' budget and rounds where the noise is asked for."""
    if request.noise_multiplier is not None:
        return request
    epsilon = PrivacySettings().epsilon if request.epsilon is None else request.epsilon
    rounds = FederationSettings().num_server_rounds if request.rounds is None else request.rounds
    return replace(request, epsilon=epsilon, rounds=rounds)


def _with_terms(request: Request, terms: LedgerTerms) -> Request:
    """Take budget, noise and steps from a ledger; go on as in its last charge where nothing else is said."""
    _refuse_other_terms(request, terms)
    steps = terms.steps if request.steps is None else request.steps
    epsilon = terms.budget if request.epsilon is None else request.epsilon
    filled = replace(request, epsilon=epsilon, steps=steps)
    if request.noise_multiplier is None and (terms.one_setting or request.rounds is None):
        filled = replace(filled, noise_multiplier=terms.noise_multiplier)
    return filled if epsilon is None else _with_defaults(filled)


def _refuse_other_terms(request: Request, terms: LedgerTerms) -> None:
    if request.delta not in {None, _DELTA_AUTO} and _delta(request) != terms.holding.delta:
        raise ConfigError(
            f"--delta is {request.delta}, but the ledger fixes it to {terms.holding.delta:g}: leave it out"
        )
    if terms.budget is None and request.epsilon is None and request.rounds is None:
        raise ConfigError("the ledger sets no budget: give --epsilon, or --rounds and --noise-multiplier")
    if terms.budget is not None and request.epsilon is not None and request.epsilon > terms.budget:
        raise ConfigError(
            f"--epsilon is {request.epsilon:g}, above the ledger's lifetime budget {terms.budget:g}: leave "
            "it out, or plan with less"
        )
    if terms.one_setting:
        _refuse_other_setting(request, terms)


def _refuse_other_setting(request: Request, terms: LedgerTerms) -> None:
    sigma, rate = terms.noise_multiplier, terms.sample_rate
    asked = request.noise_multiplier
    if asked is not None and asked != sigma:
        raise ConfigError(
            f"--noise-multiplier {asked:g}: all charges of this ledger must use {sigma:g}, so leave it out"
        )
    planned = _sample_rate(request, None)
    if request.batch_size is not None:
        planned = min(Fraction(1), Fraction(max(request.batch_size, 1), terms.holding.num_examples))
    if (request.sample_rate, request.batch_size) != (None, None) and rate is not None and planned != rate:
        raise ConfigError(
            f"all charges of this ledger must use the sample rate {rate}: leave out --sample-rate and "
            "--batch-size"
        )


def _holdings(request: Request) -> tuple[Holding, ...]:
    if request.partitions is not None:
        sizes = sizes_of_partitions(request.partitions)
    else:
        default = FederationSettings().num_clients
        sizes = sizes_of_text(request.examples or "", request.clients, default_clients=default)
    return holdings_of(sizes, _delta(request))


def _delta(request: Request) -> float | None:
    if request.delta is None or request.delta.strip() == _DELTA_AUTO:
        return None
    try:
        return float(request.delta)
    except ValueError:
        raise ConfigError(
            f'--delta is {request.delta!r:.40}, permitted is a number above 0 and at most 1/n, or "auto"'
        ) from None


def _sample_rate(request: Request, terms: LedgerTerms | None) -> Fraction | None:
    if request.batch_size is not None:
        return None
    if request.sample_rate is None and terms is not None and terms.sample_rate is not None:
        return terms.sample_rate
    default = TrainingSettings().sample_rate
    rate = request.sample_rate if request.sample_rate is not None else default
    return None if rate == "off" else _exact("sample-rate", float(rate))


def _default_steps() -> int:
    return int(TrainingSettings().local_steps)


def _exact(name: str, value: float) -> Fraction:
    """Return a decimal exactly as it was written."""
    if not math.isfinite(value):
        raise ConfigError(f"{name} is {value}, permitted is a number above 0 and at most 1")
    return Fraction(str(value))
