"""The compiled kernels, which are there where a C compiler was when the program was installed.

Without them the same numbers come from the library, to rounding: of pixels that are equally the largest of a
window another one may be taken for it, and a value that is not finite spoils more or fewer of its record's.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import torch
from torch import Tensor

SWITCH = "FEDLEDGER_KERNELS"
"""Environment variable: "off" leaves the compiled kernels aside."""

_REVISION = 4
"""Of the sources: another one's results, or arguments, may be others."""
_BUILDS = {"AVX512": "_avx512", "AVX2": "_avx2", "DEFAULT": "_plain"}
"""By what the library says of the processor; the last is too slow on those that others are for."""
_X86 = ("x86_64", "amd64")


_ARGUMENTS = {
    "into_lanes": "nnff",
    "out_of_lanes": "nnff",
    "correlate": "sssffff",
    "kernel_gradients": "sssfff",
    "plane_sums": "nnff",
    "rectify": "nnff",
    "rectify_back": "nnfff",
    "hyperbolic": "nnff",
    "hyperbolic_back": "nnfff",
    "squares": "nnff",
    "weighted_sum": "nnfff",
    "largest": "sff",
    "largest_back": "sffff",
    "group_norm": "sffffff",
    "group_norm_back": "sfffffff",
    "pool_of_four": "sffi",
    "pooled_back": "sfffifffli",
    "winograd_kernels": "nff",
    "winograd_pooled": "sffffif",
    "thin_forward": "sffff",
    "thin_back": "sfffff",
    "leave_out": "nnndff",
    "matrix_forward": "nnnfff",
    "matrix_back": "nnnnnfffff",
    "normals": "nlif",
    "onto_grid": "nffddf",
}
"""What each kernel takes: whole numbers (n), doubles (d), structures (s), and tensors of float32 (f), int32
(i) or int64 (l)."""

_TENSORS = {"f": torch.float32, "i": torch.int32, "l": torch.int64}
_TYPES = {"n": ctypes.c_int64, "d": ctypes.c_double}


def at_hand() -> bool:
    """Say whether there are kernels that were built for this processor."""
    return _library() is not None


def run(name: str, *arguments: Tensor | ctypes.Structure | ctypes.Array[Any] | float | None) -> None:
    """Call a kernel; other threads go on meanwhile.

    Args:
        name: of the function.
        arguments: its own; tensors on the CPU and contiguous, None for no array.

    Raises:
        RuntimeError: when the kernels are not at hand.
        ValueError: when a tensor lies otherwise in memory.
    """
    library = _library()
    if library is None:
        raise RuntimeError("the compiled kernels are not at hand")
    kinds = _ARGUMENTS[name]
    values = [_as_argument(*each) for each in zip(arguments, kinds, strict=True)]
    getattr(library, name)(*values)


def _as_argument(value: Any, kind: str) -> Any:
    if isinstance(value, Tensor):
        if not value.is_contiguous() or not value.is_cpu or value.dtype != _TENSORS.get(kind):
            raise ValueError("a kernel takes tensors that are contiguous, on the CPU and of its type")
        return value.data_ptr()
    return ctypes.byref(value) if isinstance(value, ctypes.Structure) else value


def _builds(name: str) -> Iterator[Path]:
    """Find the files of a build: beside this one, or in the installation if this one came in Flower's bundle.

    A bundle holds source alone. What is installed beside it is another copy of the same program, or of
    another version, which its revision tells.
    """
    folders = [Path(__file__).parent]
    with suppress(PackageNotFoundError):
        installed = distribution("fedledger")
        folders.append(Path(str(installed.locate_file("client/kernels"))))
        origin = urlsplit(json.loads(installed.read_text("direct_url.json") or "{}").get("url", ""))
        if origin.scheme == "file":
            folders.append(Path(url2pathname(origin.path)) / "client" / "kernels")
    for folder in folders:
        for suffix in EXTENSION_SUFFIXES:
            if (file := folder / f"{name}{suffix}").is_file():
                yield file


@cache
def _library() -> ctypes.CDLL | None:
    if os.environ.get(SWITCH, "").lower() == "off":
        return None
    build = _BUILDS.get(torch.backends.cpu.get_cpu_capability())
    if build is None or (build == "_plain" and platform.machine().lower() in _X86):
        return None
    return next(filter(None, map(_load, _builds(build))), None)


def _load(file: Path) -> ctypes.CDLL | None:
    """Load a build if it is one of this revision."""
    try:
        library = ctypes.CDLL(str(file))
        if library.revision() != _REVISION:
            return None
        for name, kinds in _ARGUMENTS.items():
            function = getattr(library, name)
            function.argtypes = [_TYPES.get(kind, ctypes.c_void_p) for kind in kinds]
            function.restype = None
    except (OSError, AttributeError):
        return None
    return library
