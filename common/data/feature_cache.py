"""Features kept on disk between runs, under the hash of the images and the version of what computed them."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

_NAME = "features"
_UNUSABLE = "kept features cannot be used (%s): they are computed anew"
_log = logging.getLogger("fedledger.features")


@dataclass(frozen=True, kw_only=True)
class FeatureCache:
    """One data set's place in a folder of features.

    Args:
        path: the file.
        shape: of the features, [n, views, ...].

    Privacy: the files hold what the images hold. They are for their owner alone, and a file's name, a hash of
    the images, is to be shown to nobody either.
    """

    path: Path
    shape: tuple[int, ...]

    @classmethod
    def of(cls, folder: Path, version: str, images: Tensor, shape: tuple[int, ...]) -> FeatureCache:
        """Return the place of some images' features.

        Args:
            folder: of all features.
            version: of the front.
            images: uint8 [n, 3, height, width], in the order of the features.
            shape: of the features.
        """
        digest = hashlib.sha256(f"{version} {tuple(images.shape)} {shape}\0".encode())
        digest.update(images.contiguous().numpy().data)
        return cls(path=folder / f"{digest.hexdigest()}.safetensors", shape=shape)

    def load(self) -> Tensor | None:
        """Return the features, or None where there are none that can be used."""
        if not self.path.exists():
            return None
        try:
            features = load_file(self.path)[_NAME]
        except (OSError, SafetensorError, KeyError) as error:
            _log.warning(_UNUSABLE, type(error).__name__)
            return None
        if tuple(features.shape) != self.shape or features.dtype != torch.float16:
            _log.warning(_UNUSABLE, "of another shape")
            return None
        return features

    def store(self, features: Tensor) -> None:
        """Keep features; a disk that will not is no reason to stop."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, temporary = tempfile.mkstemp(dir=self.path.parent)  # readable by its owner alone
            os.close(descriptor)
        except OSError as error:
            self._not_kept(error)
            return
        try:
            save_file({_NAME: features.cpu()}, temporary)  # into this file, or another in its place
            _finish(Path(temporary))
            Path(temporary).replace(self.path)
        except (OSError, SafetensorError) as error:
            self._not_kept(error)
            with suppress(OSError):
                Path(temporary).unlink()

    def _not_kept(self, error: Exception) -> None:
        _log.warning("features cannot be kept (%s): the next run computes them again", type(error).__name__)


def _finish(path: Path) -> None:
    """Make a file durable, and its owner's alone."""
    path.chmod(0o600)
    with path.open("rb") as file:
        os.fsync(file.fileno())
