"""A real client's site: its own records, ledger and policy, whatever the server's settings say."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from PIL import Image

from client.deployment.facts import Facts, check_settable, own_folder, partition_of
from client.deployment.own_site import OwnSite, SiteOnDemand
from client.deployment.worker_process import _introduce
from client.policy_file import PolicyFile
from common.config import RunConfig, resolve
from common.data import features, shares
from common.data.shares import shares_of, split_of
from common.errors import ConfigError, LedgerError, LedgerTampered, PolicyRefused
from common.ledger import read_ledger
from common.models.finetune.weights import load_backbone
from tests.backbones import SMALL, write_weights

POLICY = PolicyFile(
    epsilon=4.0,
    least_noise_multiplier=0.8,
    most_steps_a_round=10,
    largest_clip=1.5,
    least_examples=10,
    permitted_releases=["train"],
    permitted_models=["cnn"],
)


def policy(**changes) -> PolicyFile:
    return POLICY.model_copy(update=changes)


@pytest.fixture
def images(tiny_images, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(tiny_images, tmp_path / "images")


@pytest.fixture
def facts(images, tmp_path):
    def make(rules: PolicyFile = POLICY, *, partition: str | None = None) -> Facts:
        state = tmp_path / "state"
        if partition is None:
            return own_folder(images, 7, {}, state, rules)
        settings = {
            "data.dataset": "folder",
            "data.data-dir": str(images),
            "data.partitioner": "iid",
            "data.min-partition-size": 1,
        }
        return partition_of(partition, None, settings, state, rules)

    return make


def context(**settings) -> Context:
    run_config = resolve(settings).flat()
    return Context(run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config=run_config)


def add_image(images, name: str, count: int = 1) -> None:
    for number in range(count):
        pixels = np.full((32, 32, 3), 17 + number, dtype=np.uint8)
        Image.fromarray(pixels).save(images / "train" / "cat" / f"{name}-{number}.png")


def test_a_folder_of_its_own_is_used_whole(facts, images):
    assert len(OwnSite(facts()).records) == 48  # its test/ is not for training
    shutil.rmtree(images / "test")
    shutil.rmtree(facts().home.root)
    shares._split.cache_clear()
    assert len(OwnSite(facts()).records) == 48  # and nothing is held out


def test_a_partition_is_that_of_a_simulation(facts, tiny_settings):
    site = OwnSite(facts(partition="1/2"))
    config: RunConfig = tiny_settings()
    expected = split_of(config).train.subset(shares_of(config)[1])
    assert np.array_equal(site.records.images.numpy(), expected.images.numpy())
    assert np.array_equal(site.records.labels.numpy(), expected.labels.numpy())


def test_the_ledger_is_begun_on_the_policys_terms(facts):
    made = facts(policy(delta=1e-6))
    OwnSite(made)
    genesis = read_ledger(made.home.ledger(7)).genesis
    assert (genesis.budget_epsilon, genesis.delta, genesis.num_examples) == (4.0, 1e-6, 48)
    assert genesis.filter_order is not None


def test_the_server_chooses_training_but_neither_data_nor_ledger_nor_budget(facts):
    site = OwnSite(facts())
    hostile = {
        "training.local-steps": 3,
        "data.dataset": "cifar10",
        "data.augmentation": "flip",
        "privacy.epsilon": 1000.0,
        "privacy.delta": 0.5,
        "privacy.accounting": "fixed",
        "privacy.amend-ledgers": True,
        "runtime.ledgers": "/elsewhere",
        "runtime.out": "relative/and/hostile",
        "runtime.max-physical-batch-size": 1,
        "runtime.seed": 9,
    }
    opened = site.open(Context(run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config=hostile))
    assert opened.config.training.local_steps == 3
    assert opened.config.data.augmentation == "flip"
    assert opened.config.runtime.seed == 9
    assert opened.config.data.dataset == "folder"
    assert opened.config.runtime.max_physical_batch_size == 256
    assert (opened.config.runtime.ledgers, opened.config.runtime.out) == ("", "auto")
    assert opened.policy.budget.epsilon == 4.0
    assert opened.policy.limits == POLICY.limits
    assert (opened.partition_id, len(opened.records)) == (7, 48)
    assert opened.kept is not None


def test_a_setting_that_is_none_is_refused(facts):
    hostile = context()
    hostile.run_config["privacy.off"] = True
    with pytest.raises(ConfigError, match=r"unknown setting privacy\.off"):
        OwnSite(facts()).open(hostile)


def test_a_model_that_is_not_permitted_is_refused(facts):
    with pytest.raises(PolicyRefused, match=r"'cnn-tanh' is not among those its policy permits \(cnn\)"):
        OwnSite(facts()).open(context(**{"model.name": "cnn-tanh"}))


def test_a_policy_for_a_model_that_is_none_stops_the_client(facts):
    with pytest.raises(ConfigError, match="'resnet', which is not a model"):
        OwnSite(facts(policy(permitted_models=["resnet"])))


def test_reproducible_noise_is_for_tests_whose_policy_says_so(facts):
    reproducible = context(**{"privacy.reproducible-noise": True})
    with pytest.raises(PolicyRefused, match="reproducible noise is not private"):
        OwnSite(facts()).open(reproducible)
    lax = OwnSite(facts(policy(permit_reproducible_noise=True)))
    assert lax.open(reproducible).config.privacy.reproducible_noise


def test_a_smaller_budget_holds_at_once_and_a_larger_one_never(facts):
    OwnSite(facts())
    stricter = OwnSite(facts(policy(epsilon=2.5)))
    assert stricter.open(context()).policy.budget.epsilon == 2.5
    assert stricter.ledger.view.genesis.budget_epsilon == 4.0
    with pytest.raises(
        ConfigError, match="the policy is for .* a ledger's terms are for life, put the policy back$"
    ):
        OwnSite(facts(policy(epsilon=6.0)))


def test_a_line_that_a_crash_cut_off_does_not_keep_the_client_from_starting(facts):
    path = facts().home.ledger(7)
    OwnSite(facts())
    with path.open("ab") as file:
        file.write(b'{"entry":{"format":"fed')
    assert len(OwnSite(facts()).ledger.view.entries) == 1


def test_changed_records_go_on_only_where_the_policy_says_so(facts, images):
    OwnSite(facts())
    add_image(images, "new")
    shares._split.cache_clear()
    words = (
        "put the data back, or name the --state of these images, or record the change with "
        r"amend-ledgers = true in the policy \(what was spent stays spent\)$"
    )
    with pytest.raises(ConfigError, match=words):
        OwnSite(facts())
    amended = OwnSite(facts(policy(amend_ledgers=True)))
    assert amended.ledger.view.num_examples == 49
    assert len(amended.ledger.view.entries) == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data.replace(b'"num_examples":48', b'"num_examples":47'), "entry 0: its signature is"),
        (lambda data: b"x" + data, "entry 0: it is not an entry"),
        (lambda data: b"\xff" + data, "entry 0"),
        (lambda data: b"", "the ledger has no entries|entry 0|complete entry"),
    ],
)
def test_a_damaged_ledger_is_named_with_the_way_out(facts, damage, words):
    OwnSite(facts())
    path = facts().home.ledger(7)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LedgerTampered, match=words) as caught:
        OwnSite(facts())
    line = str(caught.value)
    assert line.startswith(str(path))
    assert line.endswith(": put its newest copy back (docs/operations.md, Backup)")
    assert line.count(str(path)) == 1


def test_a_lost_key_is_named_with_the_way_out(facts):
    OwnSite(facts())
    facts().home.key(7).unlink()
    words = "client-7.key is missing: without its key a ledger cannot be continued, restore it from a backup"
    with pytest.raises(LedgerError, match=words):
        OwnSite(facts())


def test_a_lost_salt_is_told_in_a_sites_words(facts):
    OwnSite(facts())
    facts().home.salt(7).unlink()
    with pytest.raises(ConfigError, match="or record the change with amend-ledgers = true in the policy"):
        OwnSite(facts())


def test_fewer_records_than_the_policy_asks_for_are_warned_of_at_the_start(facts, caplog):
    few = facts(policy(least_examples=49))
    _introduce(few, SiteOnDemand(few))
    words = "the policy's least-examples = 49 is more than the 48 examples here, so every round is refused"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [words]
    caplog.clear()
    enough = facts(policy(least_examples=48))
    _introduce(enough, SiteOnDemand(enough))
    assert "least-examples" not in caplog.text


@pytest.mark.parametrize("text", ["3/3", "1", "a/b", "-1/3", "1/0", "1/3/5", ""])
def test_what_is_no_partition_is_refused(text, tmp_path):
    with pytest.raises(ConfigError, match="is not I/N"):
        partition_of(text, None, {}, tmp_path, POLICY)


def test_a_partitions_number_is_its_place(tmp_path):
    assert partition_of("2/3", None, {}, tmp_path, POLICY).number == 2
    assert partition_of("2/3", 2, {}, tmp_path, POLICY).number == 2
    with pytest.raises(ConfigError, match="is client 2, not 5"):
        partition_of("2/3", 5, {}, tmp_path, POLICY)


@pytest.mark.parametrize("name", ["privacy.epsilon", "model.name", "training.local-steps", "runtime.ledgers"])
def test_a_client_does_not_set_what_is_not_its_own(name):
    with pytest.raises(ConfigError, match="not a client's own to make"):
        check_settable({name: 1})
    assert check_settable({"data.alpha": 0.1, "runtime.device": "cpu"})


def test_features_are_computed_once_for_all_messages_of_a_run(facts, monkeypatch):
    computed = []
    before = features.compute_features
    count = lambda *args, **kwargs: computed.append(kwargs["views"]) or before(*args, **kwargs)  # noqa: E731
    monkeypatch.setattr(features, "compute_features", count)
    site = OwnSite(facts(policy(permitted_models=["cnn", "scatter-linear"])))
    scatter = {"model.name": "scatter-linear"}
    first, again = (site.open(context(**scatter)).records for _ in range(2))
    assert first is again
    assert first.inputs.shape == (48, 1, 243, 8, 8)
    assert site.open(context(**{"data.augmentation": "flip"}, **scatter)).records.inputs.shape[1] == 2
    assert site.open(context()).records is site.records
    assert computed == [1, 2]
    with pytest.raises(ConfigError, match="does not go with model 'scatter-linear'"):
        site.open(context(**{"data.augmentation": "flip-crop"}, **scatter))


FINETUNE = f"finetune:{SMALL}"


@pytest.fixture
def backbone_site(images, tmp_path):
    """A site that has weights of its own, and the digest of these."""
    load_backbone.cache_clear()
    weights = write_weights(tmp_path / "weights.pth")
    settings = {"model.weights": str(weights), "model.image-size": 32}

    def make(*models: str) -> OwnSite:
        rules = policy(permitted_models=list(models or (FINETUNE, "cnn")))
        return OwnSite(own_folder(images, 7, settings, tmp_path / "state", rules))

    return make, load_backbone(SMALL, str(weights)).digest


def proposed(digest: str = "auto", **settings) -> Context:
    theirs = {"model.name": FINETUNE, "model.weights-digest": digest, "model.image-size": 32}
    return context(**(theirs | settings))


def test_a_site_trains_on_its_own_copy_of_the_servers_weights(backbone_site, tmp_path):
    make, digest = backbone_site
    opened = make().open(proposed(digest, **{"model.weights": "/of/the/server.pth"}))
    assert opened.records.inputs.shape == (48, 1, 513)
    assert opened.config.model.weights == str(tmp_path / "weights.pth")
    assert make().open(context()).config.model.name == "cnn", "weights are no hindrance to other models"


def test_a_site_refuses_other_weights_than_the_servers(backbone_site):
    make, digest = backbone_site
    with pytest.raises(ConfigError, match=f"here have the digest {digest[:16]}..., the run's have 0000"):
        make().open(proposed("0" * 64))
    with pytest.raises(PolicyRefused, match="without the digest of its weights"):
        make().open(proposed())


def test_a_policy_can_permit_certain_weights_alone(backbone_site):
    make, digest = backbone_site
    assert len(make(f"{FINETUNE}@{digest}").open(proposed(digest)).records) == 48
    with pytest.raises(PolicyRefused, match="is not among those its policy permits"):
        make(f"{FINETUNE}@{'0' * 64}").open(proposed(digest))


def test_a_ledger_is_for_images_of_the_size_of_its_backbone(backbone_site):
    make, digest = backbone_site
    with pytest.raises(ConfigError, match="64 pixels, but this client's ledger is for images of 32"):
        make().open(proposed(digest, **{"model.image-size": 64}))


def test_a_policy_of_an_unknown_backbone_is_refused(backbone_site):
    make, _ = backbone_site
    with pytest.raises(ConfigError, match="unknown model 'finetune:resnet81'"):
        make("finetune:resnet81")
