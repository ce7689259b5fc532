from __future__ import annotations

import math
import os
import signal
import struct

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from torch import Tensor

from client import noise
from client.noise import ChaChaStream, GaussianNoise, PrivateRandomness
from common.errors import ConfigError
from tests.both_ways import with_and_without_kernels  # noqa: F401

KEY = bytes(range(32))


def keystream(key: bytes, count: int) -> bytes:
    return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(count))


def test_known_answer_of_rfc_8439() -> None:
    # RFC 8439, appendix A.1, test vector 1: zero key, zero nonce, counter 0.
    assert ChaChaStream(bytes(32)).bytes(16).hex() == "76b8e0ada0f13d90405d6ae55386bd28"


def test_bytes_continue_where_the_last_call_stopped() -> None:
    stream = ChaChaStream(KEY)
    assert stream.bytes(5) + stream.bytes(0) + stream.bytes(100) == keystream(KEY, 105)


def test_integers_are_the_stream_in_little_endian_words() -> None:
    expected = [int.from_bytes(keystream(KEY, 24)[i : i + 8], "little") for i in (0, 8, 16)]
    assert ChaChaStream(KEY).integers(3).tolist() == expected


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_keys_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ChaChaStream(bytes(length))


def test_a_long_stream_goes_on_under_a_new_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_SEGMENT_BYTES", 64)
    stream = ChaChaStream(KEY)
    first, second, third = stream.bytes(64), stream.bytes(64), stream.bytes(64)
    assert first == keystream(KEY, 64)
    assert len({bytes(first), bytes(second), bytes(third)}) == 3


def box_muller_by_hand(drawn: bytes, count: int) -> list[float]:
    """Return what the method gives in Python's own arithmetic, for 8 bytes of a radius and 4 of an angle."""
    pairs = (count + 1) // 2
    radii = [
        math.sqrt(-2 * math.log(1 - (word % 2**52) * 2.0**-52))
        for word in struct.unpack_from(f"<{pairs}Q", drawn)
    ]
    angles = [math.pi * word / 2**31 for word in struct.unpack_from(f"<{pairs}i", drawn, 8 * pairs)]
    both = [r * math.cos(a) for r, a in zip(radii, angles, strict=True)]
    both += [r * math.sin(a) for r, a in zip(radii, angles, strict=True)]
    return both[:count]


@pytest.mark.parametrize("count", [1, 2, 5, 8, 1000])
def test_normals_are_box_muller_values(count: int) -> None:
    drawn = bytes(ChaChaStream(KEY).bytes(12 * ((count + 1) // 2)))
    got = ChaChaStream(KEY).standard_normals(count)
    assert got.dtype == torch.float32
    # No coarser than the grid of a deviation of 1, on which noise is added.
    np.testing.assert_allclose(got.numpy(), box_muller_by_hand(drawn, count), rtol=3e-7, atol=2.0**-20)


@pytest.mark.parametrize("word", [b"\x00" * 8, b"\xff" * 8, b"\xff" * 6 + b"\x0f\x00"])
def test_extreme_words_give_finite_normals(word: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    # The greatest fraction becomes the uniform 2**-52, none becomes exactly 1.
    monkeypatch.setattr(ChaChaStream, "bytes", lambda self, count: bytearray((word * count)[:count]))
    values = ChaChaStream(KEY).standard_normals(6)
    assert values.isfinite().all()
    assert values.abs().max() <= math.sqrt(2 * 52 * math.log(2)) + 1e-6


def test_no_normals_asked_none_given() -> None:
    assert ChaChaStream(KEY).standard_normals(0).shape == (0,)


def test_more_than_one_block_of_normals_has_no_gap() -> None:
    count = noise._BLOCK_VALUES + 3
    values = ChaChaStream(KEY).standard_normals(count)
    assert values.shape == (count,)
    assert np.unique(values.numpy()).size > 0.999 * count  # in single precision some are equal


def test_randomness_of_the_operating_system_never_repeats() -> None:
    drawn = [PrivateRandomness.from_operating_system() for _ in range(3)]
    streams = [getattr(each, name) for each in drawn for name in ("sampling", "noise", "augmentation")]
    assert len({bytes(stream.bytes(32)) for stream in streams}) == 9
    assert {each.source for each in drawn} == {"chacha20"}


def first_bytes(seed: int, partition_id: int, number: int) -> dict[str, bytes]:
    randomness = PrivateRandomness.reproducible(seed, partition_id, number)
    return {
        name: bytes(getattr(randomness, name).bytes(32)) for name in ("sampling", "noise", "augmentation")
    }


def test_reproducible_randomness_repeats_and_says_so() -> None:
    assert first_bytes(1, 2, 3) == first_bytes(1, 2, 3)
    assert PrivateRandomness.reproducible(1, 2, 3).source == "reproducible"


def test_reproducible_streams_differ_by_seed_client_round_and_purpose() -> None:
    # 1, 11 and 11, 1 would collide if the numbers were merely written one after the other.
    triples = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 11), (0, 11, 1), (0, 1, 1), (0, 11, 11)]
    seen = [stream for triple in triples for stream in first_bytes(*triple).values()]
    assert len(set(seen)) == 3 * len(triples)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_that_do_not_fit_are_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match=str(seed)):
        PrivateRandomness.reproducible(seed, 0, 0)


def test_streams_leave_global_generators_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    PrivateRandomness.from_operating_system().noise.standard_normals(100)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])


class TestGaussianNoise:
    def noised(self, total: Tensor, deviation: float) -> Tensor:
        return GaussianNoise(ChaChaStream(KEY), deviation).add(total)

    @pytest.mark.parametrize("deviation", [1e-3, 0.7, 1.0, 3.0, 1e6])
    def test_what_comes_out_lies_on_a_grid_of_the_deviation_alone(self, deviation: float) -> None:
        total = torch.linspace(-3.0, 3.0, 1001) * deviation
        noised = self.noised(total, deviation).double()
        grid = 2.0 ** (math.floor(math.log2(deviation)) - 20)
        assert ((noised / grid) % 1 == 0).all()
        exact = total.double() + ChaChaStream(KEY).standard_normals(1001) * deviation
        assert (noised - exact).abs().max() <= grid / 2 + 1e-6 * deviation

    def test_small_values_have_no_finer_digits_than_large_ones(self) -> None:
        # In float32 alone, a noised value near zero shows whether the noise was as small, or cancelled.
        count = 100_000
        noised = self.noised(torch.full((count,), -1.0), 1.0)
        small = noised[noised.abs() < 2.0**-8].double()
        assert len(small) > 100
        assert ((small * 2.0**20) % 1 == 0).all()

    def test_one_noise_after_another_is_that_of_the_stream(self) -> None:
        noise, stream = GaussianNoise(ChaChaStream(KEY), 1.0), ChaChaStream(KEY)
        for count in (3, 8, 1):
            noise.prepare(count)
            noise.prepare(count)  # asked for twice, drawn once
            expected = stream.standard_normals(count)
            noised = noise.add(torch.zeros(count))
            torch.testing.assert_close(noised, expected, rtol=0.0, atol=1e-6)

    def test_noise_is_the_same_whether_drawn_ahead_or_not(self) -> None:
        total = torch.linspace(-1.0, 1.0, 100)
        kinds = [GaussianNoise(ChaChaStream(KEY), 1.0, ahead=ahead) for ahead in (True, False)]
        for _ in range(3):
            for kind in kinds:
                kind.prepare(100)
            assert torch.equal(*(kind.add(total) for kind in kinds))

    def test_noise_for_another_number_of_values_is_an_error(self) -> None:
        noise = GaussianNoise(ChaChaStream(KEY), 1.0)
        noise.prepare(3)
        with pytest.raises(RuntimeError):
            noise.add(torch.zeros(4))

    def test_a_sum_of_many_blocks_keeps_its_order(self) -> None:
        total = torch.linspace(-5.0, 5.0, 2 * noise._BLOCK_VALUES + 1)
        noised = GaussianNoise(ChaChaStream(KEY), 2.0).add(total).double()
        expected = total.double() + 2.0 * ChaChaStream(KEY).standard_normals(len(total))
        torch.testing.assert_close(noised, expected, rtol=0.0, atol=2e-6)

    def test_a_forked_process_draws_noise_as_well(self) -> None:
        def draw() -> None:
            drawn = GaussianNoise(ChaChaStream(KEY), 1.0)
            drawn.prepare(3)
            drawn.add(torch.zeros(3))

        draw()  # this process has its threads now
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(20)
                draw()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
