"""Flower's records, read without trusting them: scalars of one type, arrays of one form."""

from __future__ import annotations

import io
import re
from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message
from numpy.typing import NDArray
from pydantic import ValidationError

from common.arrays import Arrays
from common.config import TrainingSettings
from common.errors import MessageError

ARRAYS = "arrays"
CORRECTION = "correction"
FIELDS = "fields"
TRAINING_PREFIX = "training."

_T = TypeVar("_T")
_NPY = "numpy.ndarray"
"""What Flower calls a .npy file."""
_LONGEST_LINE = 500
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<f4', 'fortran_order': False, "
    rb"'shape': \((?P<shape>[0-9, ]{0,200})\), \} *\n",
    re.DOTALL,
)


def pack_array(values: NDArray[np.float32]) -> Array:
    """Pack an array in the form that Flower gives it, a .npy file; Flower itself would copy it twice."""
    values, header = np.asarray(values, order="C"), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    data = b"".join((header.getvalue(), values.reshape(-1).data))
    return Array(dtype=str(values.dtype), shape=values.shape, stype=_NPY, data=data)


def unpack_arrays(message: Message, name: str = ARRAYS) -> Arrays:
    """Read the arrays of a message that lie under a name, or raise MessageError."""
    record = message.content.get(name)
    if not isinstance(record, ArrayRecord):
        raise MessageError(f"the message holds no {name}")
    return {str(key): _unpack_array(str(key), array.data) for key, array in record.items()}


def _unpack_array(name: str, data: bytes) -> NDArray[np.float32]:
    """Read a float32 array in the form that Flower gives it, a .npy file, and no other; it is not copied.

    numpy's own reader would also open archives and evaluate headers, and fail in many ways on hostile bytes.
    """
    header = _NPY_HEADER.match(data)
    if header is None:
        raise MessageError(f"the array {name!r:.60} cannot be decoded: it is not float32")
    try:
        shape = [int(size) for size in header["shape"].split(b",") if size.strip()]
        values = np.frombuffer(data, dtype="<f4", offset=header.end()).reshape(shape)
        return np.require(values, np.float32, ["ALIGNED"])
    except ValueError:
        raise MessageError(f"the array {name!r:.60} cannot be decoded: its size is not its shape's") from None


class Fields:
    """The scalar fields of a message, read with their types checked; MessageError names what is not."""

    def __init__(self, message: Message) -> None:
        record = message.content.get(FIELDS) if message.has_content() else None
        if not isinstance(record, ConfigRecord):
            raise MessageError("the message holds no fields")
        self._record = record
        self.names = frozenset(record)

    def text(self, name: str) -> str:
        """Return text."""
        return self._typed(name, str)

    def line(self, name: str) -> str:
        """Return text that goes to screens and logs: one line, printable, of limited length."""
        text = self.text(name)[:_LONGEST_LINE]
        return "".join(character if character.isprintable() else " " for character in text)

    def integer(self, name: str) -> int:
        """Return a whole number."""
        return self._typed(name, int)

    def binary(self, name: str) -> bytes:
        """Return bytes."""
        return self._typed(name, bytes)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        return self._typed(name, bool)

    def number(self, name: str) -> float:
        """Return a float."""
        return self._typed(name, float)

    def optional_number(self, name: str) -> float | None:
        """Return a float, or None where the field is absent."""
        return self.number(name) if name in self.names else None

    def lines(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self._typed(name, list)
        if not all(isinstance(value, str) for value in values):
            raise MessageError(f"the field {name} holds something other than text")
        return tuple(values)

    def training(self) -> TrainingSettings:
        """Return the settings of local training, validated."""
        length = len(TRAINING_PREFIX)
        values = {
            name[length:]: self._record[name] for name in self.names if name.startswith(TRAINING_PREFIX)
        }
        try:
            return TrainingSettings.model_validate(values)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"][:1])
            raise MessageError(f"the proposal's training.{where} is not permitted") from None

    def _typed(self, name: str, kind: type[_T]) -> _T:
        value = self._record.get(name)
        if type(value) is not kind:
            raise MessageError(f"the field {name} is missing or not of type {kind.__name__}")
        return value
