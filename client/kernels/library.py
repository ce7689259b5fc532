"""The compiled kernels, which are there where a C compiler was when the program was installed.

Without them the same numbers come from the library, to rounding.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

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


def _builds(name: str) -> Iterator[Path]:
    """Find the files of a build: beside this one, or in the installation if this one came in Flower's bundle.

    A bundle holds source alone. What is installed beside it is another copy of the same program, or of
    another version, which its revision tells.
    """
    yield from Path(__file__).parent.glob(f"{name}.*")
    with suppress(PackageNotFoundError):
        installed = distribution("fedledger")
        kernels = [installed.locate_file("client/kernels")]
        if origin := json.loads(installed.read_text("direct_url.json") or "{}").get("url"):
            kernels.append(Path(url2pathname(urlsplit(origin).path)) / "client" / "kernels")
        for folder in kernels:
            yield from Path(str(folder)).glob(f"{name}.*")


@cache
def _library() -> ctypes.CDLL | None:
    if os.environ.get(SWITCH, "").lower() == "off":
        return None
    build = _BUILDS.get(torch.backends.cpu.get_cpu_capability())
    if build is None or (build == "_plain" and platform.machine().lower() in _X86):
        return None
    file = next(_builds(build), None)
    if file is None:
        return None
    try:
        library = ctypes.CDLL(str(file))
    except OSError:
        return None
    if library.revision() != _REVISION:
        return None
    for name, kinds in _ARGUMENTS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = [_TYPES[kind] for kind in kinds], None
    return library
