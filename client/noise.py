"""Private randomness: a cryptographic stream for each purpose, keyed by the operating system.

Whoever predicts the noise can subtract it, so neither numpy's nor torch's generators appear here. A stream
is ChaCha20 under a key of 32 bytes; no key is stored, printed or sent.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray
from torch import Tensor

from client import kernels
from client.threads import Threads
from common.errors import ConfigError

NoiseSource = Literal["chacha20", "reproducible"]

_KEY_BYTES = 32
_SEGMENT_BYTES = 2**36  # far below the 2**32 blocks of 64 bytes that ChaCha20's counter can number
_BLOCK_VALUES = 2**16  # the working set of one block stays inside a core's second-level cache
_GRID_BITS = 20
_FRACTION = 2**52 - 1
_ONE = 0x3FF << 52
"""A double's 52 bits of fraction, and those of its exponent where its value is from 1 to below 2."""

_drawer = Threads("noise")


class ChaChaStream:
    """A cryptographically secure stream of random numbers; to be used by one thread only.

    Args:
        key: 32 secret bytes. Equal keys give equal streams.

    Raises:
        ValueError: when the key has another length.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise ValueError(f"a stream's key has {_KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._segment = 0
        self._used = 0
        self._cipher = self._open_segment()

    def bytes(self, count: int) -> bytearray:
        """Return the next `count` random bytes."""
        if self._used + count > _SEGMENT_BYTES:
            self._segment += 1
            self._used = 0
            self._cipher = self._open_segment()
        self._used += count
        drawn = bytearray(count)
        self._cipher.update_into(bytes(count), drawn)
        return drawn

    def integers(self, count: int) -> NDArray[np.uint64]:
        """Return `count` integers, uniform on 0 ... 2**64 - 1."""
        return np.frombuffer(self.bytes(8 * count), dtype="<u8")

    def standard_normals(self, count: int) -> Tensor:
        """Return `count` independent standard normal values, float32 [count], on the CPU.

        Box and Muller's method: radii of 52-bit uniforms, so that no value exceeds 8.5 in size, which the
        ideal does with a probability of 2e-17, and angles of 32 bits. What single precision leaves out is
        a few millionths at most, the size of the grid of `GaussianNoise`; add values by it, which takes away
        what last digits tell.
        """
        values = torch.empty(count + count % 2)
        for start in range(0, len(values), _BLOCK_VALUES):
            self._box_muller(values[start : start + _BLOCK_VALUES])
        return values[:count]

    def _box_muller(self, out: Tensor) -> None:
        """Fill `out`, of an even length, with standard normals: for each radius and angle, two of them."""
        pairs = len(out) // 2
        drawn = self.bytes((8 + 4) * pairs)
        words = torch.frombuffer(drawn, dtype=torch.int64, count=pairs)
        turns = torch.frombuffer(drawn, dtype=torch.int32, offset=8 * pairs, count=pairs)
        if kernels.at_hand():
            kernels.run("normals", pairs, words, turns, out)
        else:
            _normals(words, turns, out)

    def _open_segment(self) -> CipherContext:
        counter_and_nonce = bytes(4) + self._segment.to_bytes(12, "little")
        return Cipher(algorithms.ChaCha20(self._key, counter_and_nonce), mode=None).encryptor()


def _normals(words: Tensor, turns: Tensor, out: Tensor) -> None:
    """Fill `out` [2 * pairs] from 52 bits for each radius and 32 for each angle; logarithms are of (0, 1]."""
    below_two = words.bitwise_and_(_FRACTION).bitwise_or_(_ONE).view(torch.float64)  # multiples of 2**-52
    radius = below_two.neg_().add_(2.0).log_().float().mul_(-2.0).sqrt_()
    angle = turns * (math.pi * 2.0**-31)
    torch.mul(radius, angle.cos(), out=out[: len(words)])
    torch.mul(radius, angle.sin_(), out=out[len(words) :])


class GaussianNoise:
    """Adds noise to one sum after another.

    Args:
        stream: used by nobody else.
        deviation: standard deviation, above 0.
        ahead: whether what `prepare` asks for is drawn on a second thread, while the first does other work:
            quicker with a core to spare, slower without. The noise is the same.
    """

    def __init__(self, stream: ChaChaStream, deviation: float, *, ahead: bool = True) -> None:
        self._stream = stream
        self._ahead = ahead
        self._deviation = deviation
        self._grid = 2.0 ** (math.floor(math.log2(deviation)) - _GRID_BITS)
        self._drawn: Future[Tensor] | None = None

    def prepare(self, count: int) -> None:
        """Say that noise for a sum of `count` values will be wanted."""
        if self._ahead and self._drawn is None:
            self._drawn = _drawer.submit(self._stream.standard_normals, count)

    def add(self, total: Tensor) -> Tensor:
        """Return a sum [n] with noise, rounded to a public grid; float32, on the sum's device.

        Floating-point numbers lie closer together near zero than elsewhere, and which of them a noised value
        can be depends on the value without noise (Mironov 2012; Haney et al. 2022). So the sum is made in
        float64 and rounded to multiples of a power of two, about a millionth of the deviation: an attack
        would have to read the digits below, and they are not there. It mitigates, it does not prove.

        Privacy: the Gaussian mechanism, for whatever sensitivity the deviation was chosen for.
        """
        drawn = self._drawn.result() if self._drawn else self._stream.standard_normals(len(total))
        self._drawn = None
        return self._onto_grid(total.cpu(), drawn).to(total.device)

    def _onto_grid(self, sums: Tensor, noise: Tensor) -> Tensor:
        """Add up and round [n]."""
        if len(noise) != len(sums):
            raise RuntimeError(f"noise for {len(noise)} values was drawn, and there are {len(sums)}")
        noised = torch.empty(len(sums), dtype=torch.float32)
        if kernels.at_hand():
            kernels.run("onto_grid", len(sums), sums, noise, self._deviation, self._grid, noised)
        else:
            self._fill_from_grid(noised, sums, noise)
        return noised

    def _fill_from_grid(self, noised: Tensor, sums: Tensor, noise: Tensor) -> None:
        """Do it a block at a time, so that what is in hand stays in a core's cache."""
        blocks = zip(*(torch.split(each, _BLOCK_VALUES) for each in (sums, noise, noised)), strict=True)
        for some, values, out in blocks:
            exact = values.double().mul_(self._deviation / self._grid).add_(some, alpha=1 / self._grid)
            out.copy_(exact.round_().mul_(self._grid))


@dataclass(frozen=True, kw_only=True)
class PrivateRandomness:
    """The independent streams of one client in one round.

    Privacy:
        Only streams `from_operating_system` protect anybody. Whoever knows the seed of reproducible ones
        can subtract the noise, so a run with them must be labelled as not private.
    """

    sampling: ChaChaStream
    noise: ChaChaStream
    augmentation: ChaChaStream
    source: NoiseSource

    @classmethod
    def from_operating_system(cls) -> PrivateRandomness:
        """Key every stream from the operating system's own generator; nobody can repeat them."""
        return cls(
            sampling=ChaChaStream(os.urandom(_KEY_BYTES)),
            noise=ChaChaStream(os.urandom(_KEY_BYTES)),
            augmentation=ChaChaStream(os.urandom(_KEY_BYTES)),
            source="chacha20",
        )

    @classmethod
    def reproducible(cls, seed: int, partition_id: int, round: int) -> PrivateRandomness:  # noqa: A002
        """Derive every stream from public numbers, for tests and simulations that must repeat exactly.

        Args:
            seed: of the run, 0 ... 2**64 - 1.
            partition_id: the client's number, not negative.
            round: the round's number, not negative.

        Raises:
            ConfigError: when the seed does not fit into 64 bits.
        """
        if not 0 <= seed < 2**64:
            raise ConfigError(f"seed is {seed}; give a whole number from 0 to 2**64 - 1")

        def stream(purpose: str) -> ChaChaStream:
            context = f"fedledger/1 {purpose} partition={partition_id} round={round}"
            return ChaChaStream(_derive_key(seed, context))

        return cls(
            sampling=stream("sampling"),
            noise=stream("noise"),
            augmentation=stream("augmentation"),
            source="reproducible",
        )


def _derive_key(seed: int, context: str) -> bytes:
    expand = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=context.encode())
    return expand.derive(seed.to_bytes(8, "little"))
