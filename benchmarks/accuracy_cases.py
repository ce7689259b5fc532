"""The rows of docs/accuracy.md: what is run, with which settings and seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from common.config import Settings

PATCHES: Settings = {
    "model.name": "patch-linear",
    "training.sample-rate": 0.2,
    "federation.num-server-rounds": 120,
    "privacy.max-grad-norm": 0.1,
}
"""The linear model on patch features: one step a round, momentum on the server."""
LOCAL_RATES = {1: 60.0, 2: 90.0, 3: 120.0, 4: 150.0, 8: 240.0}
POOL_RATES = {1: 160.0, 2: 240.0, 3: 320.0, 4: 360.0, 8: 500.0}
"""Learning rates by epsilon: less noise bears larger steps."""
PLAIN_RATE = 50.0
EPOCH_RATES = (100.0, 200.0, 400.0)
HEADLINE_SEEDS = (0, 1, 2)
EPSILONS = (8, 3, 1, 2, 4)


NETWORK: Settings = {
    "model.name": "cnn-patches",
    "training.sample-rate": 0.2,
    "training.learning-rate": 2.0,
    "federation.num-server-rounds": 80,
    "federation.model-average": 0.9,
    "runtime.max-physical-batch-size": 64,
}
"""The small network, trained end to end, as in benchmarks/configs/cnn-patches.toml."""


SCATTERING: Settings = {
    "model.name": "scatter-linear",
    "training.sample-rate": 0.2,
    "training.learning-rate": 4.0,
    "federation.num-server-rounds": 120,
    "privacy.max-grad-norm": 0.1,
}
"""The linear model on scattering features, which a mirror image changes, unlike those of patches."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: what is run, with which seeds, and for an idea the row without it."""

    name: str
    settings: Settings
    seeds: tuple[int, ...] = (0,)
    beside: str = ""


def cases() -> Iterator[Case]:
    """Return every row, the most telling ones first."""
    for epsilon in (8, 3):
        yield _clients(epsilon, "Dirichlet 0.5", HEADLINE_SEEDS)
    yield _pool(3, HEADLINE_SEEDS)
    yield Case(name="no privacy, ten clients, Dirichlet 0.5", settings=_plain() | _spread("Dirichlet 0.5"))
    yield Case(name="no privacy, one pool", settings=_plain() | _one_pool())
    for epsilon in EPSILONS:
        for spread in ("Dirichlet 0.5", "Dirichlet 0.1", "Dirichlet 1", "IID"):
            if (epsilon, spread) not in ((8, "Dirichlet 0.5"), (3, "Dirichlet 0.5")):
                yield _clients(epsilon, spread)
        if epsilon != 3:
            yield _pool(epsilon)


def _clients(epsilon: int, spread: str, seeds: tuple[int, ...] = (0,)) -> Case:
    rate = {"training.learning-rate": LOCAL_RATES[epsilon], "privacy.epsilon": float(epsilon)}
    settings = PATCHES | rate | _spread(spread)
    return Case(name=f"epsilon {epsilon}, ten clients, {spread}", settings=settings, seeds=seeds)


def _pool(epsilon: int, seeds: tuple[int, ...] = (0,)) -> Case:
    rate = {"training.learning-rate": POOL_RATES[epsilon], "privacy.epsilon": float(epsilon)}
    return Case(name=f"epsilon {epsilon}, one pool", settings=PATCHES | rate | _one_pool(), seeds=seeds)


def _plain() -> Settings:
    return {**PATCHES, "privacy.enabled": False, "training.learning-rate": PLAIN_RATE}


def _spread(name: str) -> Settings:
    if name == "IID":
        return {"data.partitioner": "iid"}
    return {"data.partitioner": "dirichlet", "data.alpha": float(name.split()[1])}


def _one_pool() -> Settings:
    return {"federation.num-clients": 1, "federation.min-train-clients": 1, "data.partitioner": "iid"}


def ideas() -> Iterator[Case]:
    """Return runs with one thing done otherwise, each at the best of the rates that were tried."""
    linear, network = "epsilon 8, ten clients, Dirichlet 0.5", "the small network (cnn-patches)"
    adam: Settings = {"training.optimizer": "adam", "training.learning-rate": 0.03}
    fed_adam: Settings = {"federation.server-optimizer": "adam", "federation.server-learning-rate": 0.1}
    epochs: Settings = {"training.local-steps": 5, "federation.num-server-rounds": 24}
    yield _linear("average of the later models (decay 0.9)", {"federation.model-average": 0.9}, linear)
    yield _linear("Adam on the clients (rate 0.03 of 0.003 to 0.1)", adam, linear)
    yield _linear("FedAdam on the server (rate 0.1 of 0.05 to 0.4)", fed_adam, linear)
    for rate in EPOCH_RATES:
        name = f"local epochs: 24 rounds of five steps (rate {rate:.0f})"
        yield _linear(name, epochs | {"training.learning-rate": rate}, linear)
    scattering = "the linear model on scattering features"
    mirrored: Settings = {"data.augmentation": "flip"}
    both: Settings = mirrored | {"training.augmentation-multiplicity": 2}
    yield _scattering(scattering, {}, "")
    yield _scattering("scattering features: mirrored images", mirrored, scattering)
    yield _scattering("scattering features: two mirrored views of each record", both, scattering)
    yield _network(network, {}, "")
    shifted: Settings = {"data.augmentation": "flip-crop"}
    yield _network("mirrored and shifted images", shifted, network)
    views = {"training.augmentation-multiplicity": 4}
    yield _network("four mirrored and shifted views of each record", shifted | views, network)


def _linear(name: str, changes: Settings, beside: str) -> Case:
    base = PATCHES | _spread("Dirichlet 0.5") | {"training.learning-rate": LOCAL_RATES[8]}
    return Case(name=name, settings=base | changes, beside=beside)


def _scattering(name: str, changes: Settings, beside: str) -> Case:
    return Case(name=name, settings=SCATTERING | _spread("Dirichlet 0.5") | changes, beside=beside)


def _network(name: str, changes: Settings, beside: str) -> Case:
    return Case(name=name, settings=NETWORK | _spread("Dirichlet 0.5") | changes, beside=beside)
