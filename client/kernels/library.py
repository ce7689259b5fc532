"""The compiled kernels, which are there where a C compiler was when the program was installed.

Without them the same numbers come from the library, to rounding.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

SWITCH = "FEDLEDGER_KERNELS"
"""Environment variable: "off" leaves the compiled kernels aside."""

_REVISION = 1
"""Of lanes.c: another one's results, or arguments, may be others."""
_BUILDS = {"AVX512": "_avx512", "AVX2": "_avx2", "DEFAULT": "_plain"}
"""By what the library says of the processor; the last is too slow on those that others are for."""
_X86 = ("x86_64", "amd64")


_ARGUMENTS = {
    "into_lanes": "nnpp",
    "out_of_lanes": "nnpp",
    "correlate": "ppppppp",
    "kernel_gradients": "pppppp",
    "plane_sums": "nnpp",
    "rectify": "nnpp",
    "rectify_back": "nnppp",
    "hyperbolic": "nnpp",
    "hyperbolic_back": "nnppp",
    "squares": "nnpp",
    "weighted_sum": "nnppp",
    "largest": "ppp",
    "largest_back": "ppppp",
    "group_norm": "ppppppp",
    "group_norm_back": "pppppppp",
    "normals": "nppp",
    "onto_grid": "nppddp",
}
"""What each kernel takes: whole numbers of 64 bits (n), doubles (d) and arrays or structures (p)."""

_NUMBERS = (torch.float32, torch.int32, torch.int64)
_TYPES = {"n": ctypes.c_int64, "d": ctypes.c_double, "p": ctypes.c_void_p}


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
    getattr(library, name)(*map(_as_argument, arguments))


def _as_argument(value: Any) -> Any:
    if isinstance(value, Tensor):
        if not value.is_contiguous() or not value.is_cpu or value.dtype not in _NUMBERS:
            raise ValueError("a kernel takes tensors that are contiguous, on the CPU and of its type")
        return value.data_ptr()
    return ctypes.byref(value) if isinstance(value, ctypes.Structure) else value


@cache
def _library() -> ctypes.CDLL | None:
    if os.environ.get(SWITCH, "").lower() == "off":
        return None
    build = _BUILDS.get(torch.backends.cpu.get_cpu_capability())
    if build is None or (build == "_plain" and platform.machine().lower() in _X86):
        return None
    spec = find_spec(f"{__package__}.{build}")
    if spec is None or spec.origin is None:
        return None
    try:
        library = ctypes.CDLL(spec.origin)
    except OSError:
        return None
    if library.revision() != _REVISION:
        return None
    for name, kinds in _ARGUMENTS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = [_TYPES[kind] for kind in kinds], None
    return library
