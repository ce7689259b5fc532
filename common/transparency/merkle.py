"""The Merkle tree of a log: who holds one root can check that a leaf, or an older log, lies in it.

Source: RFC 6962, section 2.1 (the tree and its proofs); RFC 9162, sections 2.1.3.2 and 2.1.4.2 (how proofs
are checked).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from common.errors import LedgerError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf; the prefix keeps a leaf from passing for two hashes, and the reverse."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees side by side."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """A tree that grows by leaves, and proves what it holds and held.

    It keeps the hash of every complete subtree, two hashes a leaf, so that the root of any size and any proof
    take logarithmic time.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add a leaf, and each subtree that it completes."""
        level = 0
        self._levels[0].append(leaf_hash(leaf))
        while len(self._levels[level]) % 2 == 0:
            left, right = self._levels[level][-2:]
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node_hash(left, right))

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves, or of all; 32 bytes.

        Raises:
            LedgerError: when the tree has fewer leaves.
        """
        size = self.size if size is None else size
        self._check_size(size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return the hashes that lead from leaf `index` to the root of the first `size` leaves.

        Raises:
            LedgerError: when there is no such leaf among them.
        """
        size = self.size if size is None else size
        self._check_size(size)
        if not 0 <= index < size:
            raise LedgerError(f"leaf {index} is not in a log of size {size}: permitted is 0 to size - 1")
        proof, start, stop = [], 0, size
        while stop - start > 1:
            middle = start + _left_size(stop - start)
            if index < middle:
                proof.append(self._subtree(middle, stop))
                stop = middle
            else:
                proof.append(self._subtree(start, middle))
                start = middle
        return tuple(reversed(proof))

    def consistency_proof(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """Return the hashes that show the first `old` leaves to be those that the first `new` begin with.

        Raises:
            LedgerError: when `old` is more than `new`, or the tree has fewer leaves.
        """
        new = self.size if new is None else new
        self._check_size(new)
        if not 0 <= old <= new:
            raise LedgerError(f"a log of size {new} holds none of size {old}: permitted is 0 to {new}")
        if old in (0, new):
            return ()
        proof, start, stop = [], 0, new
        while old < stop:
            middle = start + _left_size(stop - start)
            if old <= middle:
                proof.append(self._subtree(middle, stop))
                stop = middle
            else:
                proof.append(self._subtree(start, middle))
                start = middle
        if start:  # otherwise the subtree is the old tree, whose root the reader holds
            proof.append(self._subtree(start, stop))
        return tuple(reversed(proof))

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise LedgerError(f"the log has no size {size}: permitted is 0 to {self.size}")

    def _subtree(self, start: int, stop: int) -> bytes:
        """Return the hash of a range of leaves that the tree's divisions reach, so `start` is aligned."""
        size = stop - start
        level = size.bit_length() - 1
        if size == 1 << level:
            return self._levels[level][start >> level]
        middle = start + _left_size(size)
        return node_hash(self._subtree(start, middle), self._subtree(middle, stop))


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether a proof leads from a leaf's hash to a root.

    Args:
        index: number of the leaf, from 0.
        size: number of leaves under the root; it and the root come from one signed checkpoint.
        leaf: `leaf_hash` of the leaf, 32 bytes.
        proof: what `MerkleTree.inclusion_proof` returned.
        root: 32 bytes.
    """
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    place, last, reached = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            reached = node_hash(sibling, reached)
            place, last = _skip_missing(place, last)
        else:
            reached = node_hash(reached, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and reached == root


def verify_consistency(
    *, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Say whether a proof shows that the older of two logs is what the newer one begins with.

    Args:
        old: number of leaves under `old_root`, at most `new`.
        new: number of leaves under `new_root`.
        old_root: 32 bytes.
        new_root: 32 bytes.
        proof: what `MerkleTree.consistency_proof` returned.
    """
    if not 0 <= old <= new or not _are_hashes(old_root, new_root, *proof):
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not proof:
        return False
    path = [old_root, *proof] if old.bit_count() == 1 else list(proof)
    return _walk(old - 1, new - 1, path) == (old_root, new_root)


def _walk(place: int, last: int, path: list[bytes]) -> tuple[bytes, bytes] | None:
    """Return the roots of both trees that a consistency proof leads to, if its length fits."""
    while place & 1:
        place, last = place >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            place, last = _skip_missing(place, last)
        else:
            newer = node_hash(newer, sibling)
        place, last = place >> 1, last >> 1
    return (older, newer) if last == 0 else None


def _skip_missing(place: int, last: int) -> tuple[int, int]:
    """Go up past the levels at which the last node of an incomplete tree has no sibling."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _left_size(size: int) -> int:
    """Return the largest power of two below `size`: where a tree of more than one leaf is divided."""
    return 1 << ((size - 1).bit_length() - 1)


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_SIZE for value in values)
