"""The sections of a run's settings, with every key's meaning, range and default."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.config.base import Norm, PositiveFloat, PositiveInt, Section
from common.config.federation import FederationSettings
from common.config.training import TrainingSettings
from common.errors import ConfigError


class DataSettings(Section):
    """Which images, and how they are spread over the clients."""

    dataset: Literal["synthetic", "cifar10", "cifar100", "folder"] = Field(
        "synthetic", description="Where images come from; synthetic needs no download."
    )
    data_dir: str = Field("", description="Image folder, or download cache; empty: the default cache.")
    partitioner: Literal["iid", "dirichlet", "pathological", "quantity-skew"] = Field(
        "dirichlet", description="How records are spread over the clients."
    )
    alpha: PositiveFloat = Field(0.5, description="Dirichlet concentration; smaller is more uneven.")
    classes_per_client: PositiveInt = Field(2, description="Classes of a client (pathological only).")
    min_partition_size: PositiveInt = Field(10, description="Fewest records that a client may hold.")
    augmentation: Literal["none", "flip", "flip-crop"] = Field(
        "none", description="Random changes to each training image."
    )

    @model_validator(mode="after")
    def _folder_has_a_place(self) -> Self:
        if self.dataset == "folder" and not self.data_dir:
            raise ConfigError(
                'data.dataset = "folder" needs data.data-dir, the folder of images: --set data.data-dir=DIR'
            )
        return self


class ModelSettings(Section):
    """Which network is trained."""

    name: str = Field(
        "cnn",
        description="A model of the registry: patch-linear, scatter-linear, scatter-cnn, cnn-patches, "
        "cnn-small, cnn, cnn-tanh, resnet-gn, wrn-16-4; or finetune:NAME, a linear model on the frozen "
        "features of torchvision's network NAME, such as finetune:resnet18.",
    )
    weights: str = Field(
        "auto",
        description="Weights of finetune:NAME: a state dict's file (.pth or .safetensors); "
        '"auto" is torchvision\'s public ones, downloaded once.',
    )
    weights_digest: str = Field(
        "auto",
        description="SHA-256 that the weights of finetune:NAME must have; a run notes its own here.",
    )
    image_size: Annotated[int, Field(ge=8, le=1024)] | Literal["auto"] = Field(
        "auto",
        description="Height and width in pixels to which finetune:NAME has images resized; "
        '"auto" is what its public weights are for: 224, or 299 for inception_v3.',
    )

    @model_validator(mode="after")
    def _only_of_a_backbone(self) -> Self:
        names = ("weights", "weights_digest", "image_size")
        chosen = [name.replace("_", "-") for name in names if getattr(self, name) != "auto"]
        if chosen and not self.name.startswith("finetune:"):
            raise ConfigError(
                f"model.{chosen[0]} does not go with model {self.name[:40]!r}: leave it out, or choose "
                "finetune:NAME"
            )
        if self.weights_digest != "auto" and not re.fullmatch("[0-9a-f]{64}", self.weights_digest):
            raise ConfigError(
                f"model.weights-digest = {self.weights_digest[:80]!r} is not a SHA-256: give 64 digits "
                '0-9a-f, or "auto"'
            )
        return self


class PrivacySettings(Section):
    """What is guaranteed to each record: the only section that changes guarantees."""

    enabled: bool = Field(True, description="False trains without clipping and noise: NOT PRIVATE.")
    epsilon: PositiveFloat = Field(8.0, description="Lifetime budget of each client's data set.")
    delta: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] = Field(
        "auto", description='Never above 1/n; "auto" is the smaller of 1e-5 and 1/(10 n).'
    )
    noise_multiplier: Annotated[float, Field(ge=0.01, le=1000)] | Literal["auto"] = Field(
        "auto", description='Noise over clip; "auto" spends the budget over the planned rounds.'
    )
    target_epsilon: PositiveFloat | Literal["auto"] = Field(
        "auto",
        description='Epsilon to which this run may bring a ledger; "auto" is the whole lifetime budget.',
    )
    max_grad_norm: Norm = Field(1.0, description="L2 clip of each record's gradient.")
    accounting: Literal["auto", "fixed", "adaptive"] = Field(
        "auto",
        description="fixed: one noise multiplier and sample rate for a ledger's life, at the least cost; "
        "adaptive: any, chosen in view of earlier results, under a filter; "
        '"auto": adaptive where runtime.ledgers is set.',
    )
    amend_ledgers: bool = Field(
        False, description="Go on with a ledger whose data set has changed; what was spent stays spent."
    )
    reproducible_noise: bool = Field(
        False, description="Derive noise from the seed (simulation only): NOT PRIVATE."
    )


class RuntimeSettings(Section):
    """How the run is executed; never changes a result."""

    workers: PositiveInt | Literal["auto"] = Field(
        "auto", description='Clients that train at a time; "auto" is one a core.'
    )
    worker_kind: Literal["auto", "thread", "process"] = Field(
        "auto",
        description='What trains a simulated client: a "thread", or a "process", which waits for no other\'s '
        'Python; "auto" takes processes for networks on Linux and the CPU.',
    )
    device: str = Field("auto", description="cpu, cuda, cuda:N, mps; auto takes the first that is there.")
    max_physical_batch_size: PositiveInt = Field(256, description="Records held in memory at a time.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="Public randomness: partitions, initial weights, cohorts."
    )
    out: str = Field("auto", description='Run folder; "auto" is runs/<time>-<dataset>.')
    feature_cache: str = Field(
        "",
        description="Folder that keeps the features of models with a frozen front between runs, as private "
        "as the images; empty: nothing is kept.",
    )
    ledgers: str = Field(
        "", description="Folder of ledgers, keys and server log that outlive the run; empty: the run folder."
    )

    @property
    def num_workers(self) -> int:
        """How many clients may train at a time on this machine."""
        return (os.cpu_count() or 1) if self.workers == "auto" else self.workers


class RunConfig(Section):
    """Everything that defines a run."""

    federation: FederationSettings = Field(default_factory=FederationSettings)
    data: DataSettings = Field(default_factory=DataSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    runtime: RuntimeSettings = Field(default_factory=RuntimeSettings)

    @model_validator(mode="after")
    def _views_of_a_record_differ(self) -> Self:
        views = self.training.augmentation_multiplicity
        if views > 1 and self.data.augmentation == "none":
            raise ConfigError(
                f"training.augmentation-multiplicity = {views} needs views that differ: set "
                'data.augmentation to "flip" or "flip-crop", or the multiplicity to 1'
            )
        return self

    @model_validator(mode="after")
    def _updates_are_sums_of_gradients(self) -> Self:
        training = self.training
        plain = training.optimizer == "sgd" and not training.momentum and not training.proximal_mu
        if self.federation.drift_correction == "scaffold" and not plain:
            raise ConfigError(
                'federation.drift-correction = "scaffold" takes a client\'s gradients off its update: set '
                'training.optimizer to "sgd", and training.momentum and training.proximal-mu to 0'
            )
        return self

    @property
    def adaptive(self) -> bool:
        """Whether ledgers begun by this run permit settings that differ from charge to charge."""
        if self.privacy.accounting == "auto":
            return bool(self.runtime.ledgers) and self.privacy.enabled
        return self.privacy.accounting == "adaptive"

    @property
    def stamp(self) -> str:
        """The words that a run without a guarantee carries everywhere; empty for a private run."""
        if not self.privacy.enabled:
            return "NOT PRIVATE"
        return "NOT PRIVATE: REPRODUCIBLE NOISE" if self.privacy.reproducible_noise else ""

    def flat(self) -> dict[str, bool | int | float | str]:
        """Return `section.key` settings in kebab case, as Flower carries them."""
        tree = self.model_dump(by_alias=True)
        return {f"{section}.{key}": value for section, keys in tree.items() for key, value in keys.items()}
