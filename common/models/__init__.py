"""The models by name, their arrays and their losses."""

from __future__ import annotations

from common.models.losses import LOSSES, ExampleLoss, build_loss
from common.models.registry import MODELS, ModelSpec, build_model, model_spec
from common.models.safety import refuse_unsafe_layers
from common.models.weights import initial_arrays, load_arrays, model_arrays, refuse_misfit

__all__ = [
    "LOSSES",
    "MODELS",
    "ExampleLoss",
    "ModelSpec",
    "build_loss",
    "build_model",
    "initial_arrays",
    "load_arrays",
    "model_arrays",
    "model_spec",
    "refuse_misfit",
    "refuse_unsafe_layers",
]
