"""The models by name, their arrays and their losses."""

from __future__ import annotations

from common.models.finetune.model import pinned
from common.models.losses import LOSSES, ExampleLoss, build_loss
from common.models.registry import MODELS, build_model, image_size_of, model_spec, spec_of
from common.models.safety import refuse_unsafe_layers
from common.models.spec import ModelSpec
from common.models.weights import initial_arrays, load_arrays, model_arrays, refuse_misfit, values_of

__all__ = [
    "LOSSES",
    "MODELS",
    "ExampleLoss",
    "ModelSpec",
    "build_loss",
    "build_model",
    "image_size_of",
    "initial_arrays",
    "load_arrays",
    "model_arrays",
    "model_spec",
    "pinned",
    "refuse_misfit",
    "refuse_unsafe_layers",
    "spec_of",
    "values_of",
]
