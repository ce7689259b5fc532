"""The public constants of patch features, in a file beside this one.

Made by `python -m benchmarks.patch_bank` from procedurally drawn images; no private and no real image took
part. JSON, because a Flower app's bundle takes nothing binary; numbers as base64 of little-endian float16.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import ConfigError
from common.models.patches.features import PatchBank

BANK_SHA256 = "352f256b38cc68611185de5b98a6572ec3e977c243c08719f554d4e8bd2d340d"
BANK_FILE = Path(__file__).with_name("bank.json")

_ARRAYS = ("filters", "offsets", "means", "deviations", "whitening")


@lru_cache(maxsize=1)
def load_bank() -> PatchBank:
    """Read the constants that belong to this version of the program.

    Raises:
        ConfigError: when the file is another one: a code digest, which covers programs alone, would not tell.
    """
    data = BANK_FILE.read_bytes()
    if hashlib.sha256(data).hexdigest() != BANK_SHA256:
        raise ConfigError(f"{BANK_FILE} is not the one of this version: install FedLedger again")
    content = json.loads(data)
    arrays = {name: _read(content[name]) for name in _ARRAYS}
    return PatchBank(contrast=content["contrast"], parts=content["parts"], **arrays)


def write_bank(bank: PatchBank, path: Path) -> None:
    """Write constants, their numbers rounded to float16."""
    content = {"contrast": bank.contrast, "parts": bank.parts}
    arrays = {name: _written(getattr(bank, name)) for name in _ARRAYS}
    path.write_text(json.dumps(content | arrays, indent=1) + "\n", encoding="ascii")


def _read(entry: dict[str, object]) -> Tensor:
    values = np.frombuffer(base64.b64decode(str(entry["float16"])), dtype="<f2")
    shape = [int(size) for size in str(entry["shape"]).split("x")]
    return torch.from_numpy(values.astype(np.float32)).view(shape)


def _written(tensor: Tensor) -> dict[str, str]:
    values = tensor.numpy().astype("<f2")
    shape = "x".join(map(str, values.shape))
    return {"shape": shape, "float16": base64.b64encode(values.tobytes()).decode("ascii")}
