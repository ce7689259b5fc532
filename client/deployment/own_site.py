"""A real client's site: records, ledger and policy of its own, whatever a server's settings say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from flwr.app import Context

from client.deployment.facts import Facts
from client.kept import KeptUpdates
from client.ledgers import open_ledger
from client.policy_check import check_models
from client.site import Site
from common.config import RunConfig, Settings, resolve
from common.data import DataSplit, ImageData, Images, Records
from common.data.features import Preparation
from common.data.shares import preparation_of, shares_of, split_of
from common.errors import ConfigError, LedgerTampered, PolicyRefused
from common.ledger import Ledger, parse_lines
from common.models import image_size_of
from common.models.finetune.backbone import is_finetune
from common.models.finetune.weights import is_pinned
from common.privacy.budget import PrivacyBudget

_THEIRS = frozenset({"data.augmentation", "model.weights-digest", "runtime.seed"})
_OURS = (
    "data.",
    "runtime.",
    "model.weights",
    "privacy.epsilon",
    "privacy.delta",
    "privacy.accounting",
    "privacy.amend-ledgers",
)
"""A client's own settings: where its records are, how it computes, what its ledger is for. A server's are all
others, which change none of this; the seed names the noise of tests alone."""

_WORDS = (
    ("put the data back, or", "put the data back, or name the --state of these images, or"),
    ("privacy.amend-ledgers = true", "amend-ledgers = true in the policy"),
    ("the settings are for", "the policy is for"),
    ("put the settings back or choose another folder", "put the policy back"),  # another has no new budget
)
"""What a run's settings are called, and what a site has instead."""


class OwnSite:
    """A client's records and ledger, opened once; each message gets them with the settings of its run.

    Args:
        facts: the site's own.

    Raises:
        ConfigError, DataError, LedgerError: when records, ledger and policy do not go together.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._image_size = _image_size(facts)
        self.records = _records(facts)
        self.ledger = _ledger(facts, self.records)
        self._preparation: Preparation | None = None
        self._inputs: Records = self.records
        self._policy = facts.policy.for_ledger(_budget(self.ledger))
        self._kept = KeptUpdates(facts.kept)

    def open(self, context: Context) -> Site:
        """Return the site for one message of a server.

        Raises:
            ConfigError: when the run's settings are not valid, or for other images.
            PolicyRefused: when the run is for a model, or with noise, that the policy does not permit.
            LedgerError: when the ledger's file is not as this client left it.
        """
        config = self._merged(dict(context.run_config))
        self._refuse(config)
        self.ledger.catch_up()
        return Site(
            partition_id=self._facts.number,
            config=config,
            records=self._prepared(config),
            ledger=self.ledger,
            policy=self._policy,
            kept=self._kept,
        )

    def _prepared(self, config: RunConfig) -> Records:
        """Return the records as a run's model takes them; features are kept until a run wants others."""
        wanted = preparation_of(config)
        if wanted != self._preparation:
            self._preparation, self._inputs = None, self.records  # frees the last features first
            self._inputs = wanted.records(self.records)
            self._preparation = wanted
        return self._inputs

    def _merged(self, theirs: Settings) -> RunConfig:
        """Lay the site's own settings over the server's; weights are of use to a backbone alone."""
        ours = {name: value for name, value in self._facts.config.flat().items() if _is_ours(name)}
        if not is_finetune(str(theirs.get("model.name", ""))):
            del ours["model.weights"]
        return resolve({name: value for name, value in theirs.items() if not _is_ours(name)}, ours)

    def _refuse(self, config: RunConfig) -> None:
        name = config.model.name
        if not self._facts.policy.permits_model(name, config.model.weights_digest):
            known = ", ".join(self._facts.policy.permitted_models) or "none"
            raise PolicyRefused(f"model {name[:40]!r} is not among those its policy permits ({known})")
        if is_finetune(name) and not is_pinned(config.model.weights_digest):
            raise PolicyRefused(f"model {name[:40]!r} was proposed without the digest of its weights")
        if config.privacy.reproducible_noise and not self._facts.policy.permit_reproducible_noise:
            raise PolicyRefused("reproducible noise is not private, and its policy does not permit it")
        size = image_size_of(config.model)
        if size != self._image_size:
            raise ConfigError(
                f"model {name!r} takes images of {size} pixels, but this client's ledger is for images of "
                f"{self._image_size}"
            )


class SiteOnDemand:
    """A site that is opened when it is first asked for, so that what is wrong with it is the answer.

    Args:
        facts: the site's own.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._site: OwnSite | None = None

    @property
    def opened(self) -> OwnSite:
        """The site; opened now if it is not yet.

        Raises:
            ConfigError, DataError, LedgerError: as `OwnSite`, again at each call until it can be opened.
        """
        if self._site is None:
            self._site = OwnSite(self._facts)
        return self._site

    def open(self, context: Context) -> Site:
        """Return the site for one message of a server, as `OwnSite.open`."""
        return self.opened.open(context)


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS) and name not in _THEIRS


def _image_size(facts: Facts) -> int:
    """Return the size of images to which the ledger commits: that of the first permitted model."""
    check_models(facts.policy)
    return image_size_of(facts.config.model)


def _records(facts: Facts) -> Images:
    split = split_of(facts.config)
    if not facts.whole_folder:
        return split.train.share(shares_of(facts.config)[facts.number])
    return _whole(split, facts)


def _whole(split: DataSplit, facts: Facts) -> ImageData:
    """Return all training images: without a test/, those as well that a simulation would hold out."""
    if (Path(facts.config.data.data_dir) / "test").is_dir():
        return split.train
    parts = (split.train, split.test)
    return ImageData(
        images=torch.cat([part.images for part in parts]),
        labels=torch.from_numpy(np.concatenate([part.labels.numpy() for part in parts])),
        classes=split.train.classes,
    )


def _ledger(facts: Facts, records: Images) -> Ledger:
    """Open the ledger on its own terms where the policy is no laxer, or begin it on the policy's."""
    try:
        return open_ledger(facts.home, facts.number, _on_its_terms(facts), records)
    except ConfigError as error:
        raise ConfigError(_in_a_sites_words(str(error))) from None
    except LedgerTampered as error:
        raise _with_a_way_out(error, facts.home.ledger(facts.number)) from None


def _with_a_way_out(error: LedgerTampered, path: Path) -> LedgerTampered:
    """Return what is said of a damaged line or end of a ledger with its file and what to do."""
    if error.entry is None and error.flaw != "ledger-torn":
        return error  # it names a key, and what to do about that
    where = "" if str(path) in str(error) else f"{path}: "
    text = f"{where}{error}: put its newest copy back (docs/operations.md, Backup)"
    return LedgerTampered(text, flaw=error.flaw, entry=error.entry)


def _in_a_sites_words(line: str) -> str:
    """Return what is said of a run's settings as what a site can do, whose settings are its policy."""
    for of_a_run, of_a_site in _WORDS:
        line = line.replace(of_a_run, of_a_site)
    return line


def _on_its_terms(facts: Facts) -> RunConfig:
    """Return the site's settings with the budget that a ledger was begun for, if that is not smaller."""
    path = facts.home.ledger(facts.number)
    if not path.exists():
        return facts.config
    begun = parse_lines([_first_line(path)]).genesis.budget_epsilon
    if begun is None or begun < facts.policy.epsilon:
        return facts.config
    return resolve(facts.config.flat(), {"privacy.epsilon": begun})


def _first_line(path: Path) -> str:
    """Return a file's first line, whatever a crash may have left at its end."""
    with path.open(encoding="ascii", errors="replace") as file:
        return file.readline().rstrip("\n")


def _budget(ledger: Ledger) -> PrivacyBudget:
    genesis = ledger.view.genesis
    if genesis.budget_epsilon is None:
        raise ConfigError("this ledger is for training without privacy: choose another --state")
    return PrivacyBudget(epsilon=genesis.budget_epsilon, delta=genesis.delta)
