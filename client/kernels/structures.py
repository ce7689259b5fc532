"""What the kernels are told of shapes; each as in the source that takes it."""

from __future__ import annotations

import ctypes


def _fields(kind: type[ctypes.c_int32 | ctypes.c_int64], names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class Tap(ctypes.Structure):
    """One value of a kernel and the pixel that it meets."""

    _fields_ = _fields(ctypes.c_int32, "pixel value")


class Walk(ctypes.Structure):
    """A part of the results to which the same taps belong."""

    _fields_ = _fields(
        ctypes.c_int32,
        "taps first_tap rows places image image_row image_step result result_row result_step",
    )


class Batch(ctypes.Structure):
    """What all walks over a batch have in common."""

    _fields_ = _fields(
        ctypes.c_int64, "blocks walks channels image_block result_block result_channel kernel_channel"
    )


class Windows(ctypes.Structure):
    """How windows lie on images."""

    _fields_ = _fields(
        ctypes.c_int64, "planes height width rows columns down right result_height result_width rectified"
    )


class Pooled(ctypes.Structure):
    """A convolution whose results are pooled by fours."""

    _fields_ = _fields(
        ctypes.c_int64,
        "records height width channels result_height result_width outputs rows columns down right band",
    )


class Thin(ctypes.Structure):
    """A convolution of few channels."""

    _fields_ = [
        *_fields(ctypes.c_int64, "records image width result_height result_width outputs taps"),
        ("places", ctypes.POINTER(ctypes.c_int32)),
    ]


class Groups(ctypes.Structure):
    """How channels are grouped."""

    _fields_ = [
        *_fields(ctypes.c_int64, "groups groups_of_record channels pixels"),
        ("tiny", ctypes.c_float),
    ]
