"""The files that other programs load, written and read back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from common.errors import ExportFailed
from common.trained.extras import require_extra

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch.export import ExportedProgram

METADATA = "fedledger.json"
"""Name of what a file says of itself, in each format."""

INPUT, OUTPUT = "images", "scores"

Runner = Callable[[Tensor], Tensor]
"""uint8 [batch, 3, height, width] to float32 [batch, classes], both on the CPU."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file.

    Args:
        suffix: of its files.
        write: writes a module, for images shaped like an example, with its metadata (JSON).
        load: makes what a file holds ready to run.
        libraries: what it needs besides torch, of the extra "export".
    """

    suffix: str
    write: Callable[[nn.Module, Tensor, str, Path], None]
    load: Callable[[Path], Runner]
    libraries: tuple[str, ...] = ()

    def require(self) -> None:
        """Make sure that its libraries are there, or raise ConfigError."""
        require_extra("export", self.libraries, ", or --formats torchscript,torch-export")


def _write_torchscript(module: nn.Module, example: Tensor, metadata: str, path: Path) -> None:
    with _quiet():
        traced = torch.jit.trace(module, example)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, path, _extra_files={METADATA: metadata})


def _load_torchscript(path: Path) -> Runner:
    with _quiet():
        loaded: Runner = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return loaded


def _write_torch_export(module: nn.Module, example: Tensor, metadata: str, path: Path) -> None:
    torch.export.save(_program(module, example), path, extra_files={METADATA: metadata})


def _load_torch_export(path: Path) -> Runner:
    loaded: Runner = torch.export.load(path).module()
    return loaded


def _write_onnx(module: nn.Module, example: Tensor, metadata: str, path: Path) -> None:
    import onnx

    with _quiet():
        written = torch.onnx.export(
            _program(module, example),
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamo=True,
            verbose=False,
        )
    if written is None:
        raise ExportFailed(f"{path.name} was not written: leave out its format")
    model = written.model_proto
    _forget_where_it_was_made(model)
    onnx.helper.set_model_props(model, {METADATA: metadata})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _load_onnx(path: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (scores,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(scores)

    return run


def _program(module: nn.Module, example: Tensor) -> ExportedProgram:
    """Trace a module for batches of any size."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, which are nobody's business
    return program


def _forget_where_it_was_made(model: ModelProto) -> None:
    """Drop what the exporter notes of each node, and give the batch its name."""
    for node in model.graph.node:
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings that torch has for programmers from people: each file is checked after it is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


FORMATS: dict[str, Format] = {
    "torchscript": Format(suffix=".torchscript.pt", write=_write_torchscript, load=_load_torchscript),
    "onnx": Format(
        suffix=".onnx",
        write=_write_onnx,
        load=_load_onnx,
        libraries=("onnx", "onnxscript", "onnxruntime"),
    ),
    "torch-export": Format(suffix=".pt2", write=_write_torch_export, load=_load_torch_export),
}
