"""The terms on which a client's ledger begins, and which settings may not contradict."""

from __future__ import annotations

from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from client.site import close_sites, open_site
from common.config import RunConfig
from common.data.shares import shares_of
from common.errors import ConfigError, LedgerError, LedgerTampered
from common.ledger import SigningKey
from common.run_folder import RunFolder


def node(config: RunConfig, partition_id: object = 0) -> Context:
    node_config = {} if partition_id is None else {"partition-id": partition_id, "num-partitions": 2}
    return Context(run_id=1, node_id=2, node_config=node_config, state=RecordDict(), run_config=config.flat())


def folder_of(config: RunConfig) -> RunFolder:
    return RunFolder(Path(config.runtime.out))


def test_a_ledger_begins_with_the_public_terms(tiny_settings):
    site = open_site(node(tiny_settings(changes={"privacy.epsilon": 3.5})))
    genesis = site.ledger.view.genesis
    assert (genesis.num_examples, genesis.budget_epsilon) == (24, 3.5)
    assert genesis.delta == 1e-5  # the smaller of 1e-5 and 1/240
    assert site.policy.budget.epsilon == 3.5
    assert site.policy.budget.delta == 1e-5


def test_delta_can_be_set_up_to_one_over_n(tiny_settings):
    site = open_site(node(tiny_settings(changes={"privacy.delta": 1 / 24})))
    assert site.ledger.view.genesis.delta == site.policy.budget.delta == 1 / 24
    with pytest.raises(ConfigError, match="1/24"):
        open_site(node(tiny_settings("other", {"privacy.delta": 0.05})))


def test_without_privacy_the_ledger_sets_no_budget(tiny_settings):
    site = open_site(node(tiny_settings(changes={"privacy.enabled": False})))
    assert site.ledger.view.genesis.budget_epsilon is None
    assert site.policy.budget is None


def test_clients_hold_disjoint_records_ledgers_and_keys(tiny_settings):
    config = tiny_settings()
    sites = [open_site(node(config, number)) for number in (0, 1)]
    shares = shares_of(config)
    assert not set(shares[0]) & set(shares[1])
    for site, share in zip(sites, shares, strict=True):
        assert len(site.records) == len(share) == 24
    first, second = (site.ledger.view.genesis for site in sites)
    assert first.public_key != second.public_key
    assert first.ledger_id != second.ledger_id


@pytest.mark.parametrize("number", [2, 7, -1])
def test_a_number_that_no_client_has_is_refused(tiny_settings, number):
    config = tiny_settings()
    with pytest.raises(ConfigError, match=f"partition-id={number}"):
        open_site(node(config, number))
    assert not folder_of(config).ledger(number).exists()


@pytest.mark.parametrize("number", [None, "0", 1.0, True])
def test_a_node_without_a_number_is_told_how_to_give_one(tiny_settings, number):
    with pytest.raises(ConfigError, match="partition-id=0 num-partitions=10"):
        open_site(node(tiny_settings(), number))


def test_a_site_opened_again_keeps_its_ledger_and_key(tiny_settings):
    config = tiny_settings()
    before = open_site(node(config)).ledger.view
    close_sites(folder_of(config).root)
    assert open_site(node(config)).ledger.view == before


def test_a_key_without_a_ledger_begins_none(tiny_settings):
    config = tiny_settings()
    SigningKey.generate().save(folder_of(config).key(0))
    with pytest.raises(LedgerError, match=r"only if none was ever begun.*: remove .*/keys/client-0\.\*"):
        open_site(node(config))
    folder_of(config).key(0).unlink()
    assert len(open_site(node(config)).ledger.view.entries) == 1


def test_another_clients_ledger_is_refused(tiny_settings):
    config = tiny_settings()
    folder = folder_of(config)
    for number in (0, 1):
        open_site(node(config, number))
    close_sites(folder.root)
    folder.ledger(0).write_bytes(folder.ledger(1).read_bytes())
    with pytest.raises(LedgerTampered, match="another key"):
        open_site(node(config))


@pytest.mark.parametrize(
    "changes",
    [
        {"privacy.epsilon": 100.0},
        {"privacy.delta": 0.001},
        {"privacy.enabled": False},
        {"federation.num-clients": 2, "data.partitioner": "quantity-skew", "data.alpha": 0.5},
    ],
)
def test_settings_cannot_change_the_terms_of_a_ledger_that_exists(tiny_settings, changes):
    config = tiny_settings()
    open_site(node(config))
    close_sites(folder_of(config).root)
    with pytest.raises(ConfigError, match=r"was begun for epsilon 8|is the ledger of 24 examples"):
        open_site(node(tiny_settings(changes=changes)))
