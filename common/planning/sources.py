"""Where a plan's clients come from: numbers typed, a simulation's partitions, or a ledger."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from common.audit.evaluation import Partitions
from common.errors import ConfigError, LedgerTampered
from common.ledger import Genesis, LedgerView, read_ledger
from common.ledger.chain import naming
from common.planning.question import MOST_CLIENTS, Filter, Holding
from common.privacy.budget import PrivacyBudget
from common.privacy.mechanisms import PoissonGaussian, Unprotected, merge

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def sizes_of_text(text: str, clients: int | None, *, default_clients: int) -> list[int]:
    """Read numbers of examples, such as "6000" for every client or "500,6000" for one each.

    Args:
        clients: how many clients there are, None if not said.
        default_clients: how many hold the same number where only one number is given.

    Raises:
        ConfigError: when it is no such list, or does not have as many numbers as there are clients.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not _NUMBER.fullmatch(part):
            raise ConfigError(
                f"--examples {text!r:.80} holds {part!r:.40}, permitted are whole numbers of at least 1 "
                "between commas and without thousands separators, such as 500,6000,12000"
            )
    sizes = [int(part) for part in parts]
    if len(sizes) == 1:
        return sizes * _checked_count(default_clients if clients is None else clients)
    if clients not in {None, len(sizes)}:
        raise ConfigError(
            f"--clients is {clients}, but --examples names {len(sizes)} clients: give one number for each, "
            "or a single one for all"
        )
    return sizes


def _checked_count(clients: int) -> int:
    if not 1 <= clients <= MOST_CLIENTS:
        raise ConfigError(f"--clients is {clients}, permitted is a whole number from 1 to {MOST_CLIENTS:,}")
    return clients


def sizes_of_partitions(path: Path) -> list[int]:
    """Read how many examples each client of a simulation held.

    Args:
        path: partitions.json, or the run folder that holds it.

    Raises:
        ConfigError: when it cannot be read, or is not what a simulation writes.
    """
    file = path / "partitions.json" if path.is_dir() else path
    way_out = "give the partitions.json that `fedledger simulate` wrote into its run folder"
    try:
        partitions = Partitions.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}): {way_out}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ConfigError(f"{file} is not JSON: {way_out}") from None
    except ValidationError:
        raise ConfigError(f"{file} does not hold partitions: {way_out}") from None
    sizes = [sum(counts) for counts in partitions.counts]
    if not sizes or min(min(counts, default=0) for counts in partitions.counts) < 0 or min(sizes) < 1:
        raise ConfigError(f"{file} holds no client, or one without examples: {way_out}")
    return sizes


@dataclass(frozen=True, kw_only=True)
class LedgerTerms:
    """What an existing ledger fixes for everything planned after it.

    Args:
        budget: lifetime epsilon, None where the ledger sets none.
        last: the latest charge of noisy steps, those of one round; None if there is none.
        one_setting: whether every charge must use the noise multiplier and sample rate of the first.
    """

    holding: Holding
    budget: float | None
    last: PoissonGaussian | None
    one_setting: bool

    def lowered_to(self, budget: float | None) -> LedgerTerms:
        """Return the terms of a client whose policy has come to permit less than its ledger's budget.

        Raises:
            ConfigError: when the budget is not above 0, or above the ledger's.
        """
        if budget is None:
            return self
        most = math.inf if self.budget is None else self.budget
        if not 0 < budget <= most:
            raise ConfigError(
                f"--budget is {budget:g}, permitted is above 0 and at most the ledger's {most:g}: a policy "
                "can lower a budget, never raise it"
            )
        limit = self.holding.filter
        if limit is not None:
            limit = replace(limit, budget=PrivacyBudget(epsilon=budget, delta=self.holding.delta))
        return replace(self, budget=budget, holding=replace(self.holding, filter=limit))

    @property
    def noise_multiplier(self) -> float | None:
        """Of the latest charge."""
        return self.last.noise_multiplier if self.last else None

    @property
    def sample_rate(self) -> Fraction | None:
        """Of the latest charge."""
        return self.last.sample_rate if self.last else None

    @property
    def steps(self) -> int | None:
        """Of the latest charge, which is one round's."""
        return self.last.num_steps if self.last else None


def terms_of_ledger(path: Path) -> LedgerTerms:
    """Verify a ledger and read what it fixes.

    Raises:
        LedgerError: when it cannot be read or does not verify.
        ConfigError: when nothing can be planned after it: its delta is above 1/n, or it holds training
            without noise.
    """
    try:
        view = read_ledger(path)
    except LedgerTampered as error:
        raise naming(error, path) from None
    _refuse_unprotected(view, path)
    last = _last_charge(view)
    limit = _filter_of(view.genesis)
    return LedgerTerms(
        holding=Holding(
            num_examples=view.num_examples,
            delta=view.genesis.delta,
            prior=merge(view.mechanisms()),
            filter=limit,
        ),
        budget=view.genesis.budget_epsilon,
        last=last,
        one_setting=last is not None and limit is None,
    )


def _refuse_unprotected(view: LedgerView, path: Path) -> None:
    if any(isinstance(mechanism, Unprotected) for mechanism in view.mechanisms()):
        raise ConfigError(
            f"{path} holds training without noise, after which no plan can limit epsilon: plan for a data "
            "set of which nothing was released unprotected"
        )


def _filter_of(genesis: Genesis) -> Filter | None:
    if genesis.filter_order is None or genesis.budget_epsilon is None:
        return None
    return Filter(
        budget=PrivacyBudget(epsilon=genesis.budget_epsilon, delta=genesis.delta), order=genesis.filter_order
    )


def _last_charge(view: LedgerView) -> PoissonGaussian | None:
    for reserve in reversed(view.reservations()):
        for mechanism in reserve.mechanisms:
            if isinstance(mechanism, PoissonGaussian):
                return mechanism
    return None
