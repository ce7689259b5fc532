from __future__ import annotations

import hashlib

import pytest

from common.errors import LedgerError
from common.transparency.merkle import (
    EMPTY_ROOT,
    MerkleTree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 70
LEAVES = [b"leaf %d" % number for number in range(LARGEST)]


def naive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:half]) + naive_root(leaves[half:])).digest()


ROOTS = [naive_root(LEAVES[:size]) for size in range(LARGEST + 1)]


def changed(proof: tuple[bytes, ...], node: int, byte: int) -> list[bytes]:
    """Return a proof with one bit of one byte of one node turned over."""
    other = bytearray(proof[node])
    other[byte] ^= 1 << byte % 8
    return [*proof[:node], bytes(other), *proof[node + 1 :]]


def changes(proof: tuple[bytes, ...], *, all_bytes: bool) -> list[list[bytes]]:
    """Return a proof with every byte, or one byte of each node, changed; shortened; lengthened."""
    longer = [[*proof, EMPTY_ROOT], [EMPTY_ROOT, *proof], [*proof, b""]]
    if not proof:
        return longer
    single = [
        changed(proof, node, byte)
        for node in range(len(proof))
        for byte in (range(32) if all_bytes else [(7 * node + len(proof)) % 32])
    ]
    narrow = [[*proof[:-1], proof[-1][:-1]], [*proof[:-1], proof[-1] + b"\x00"]]
    shorter = [[], list(proof[:-1]), list(proof[1:])]
    return [*longer, [*proof, proof[-1]], *single, *narrow, *shorter]


@pytest.fixture(scope="module")
def tree() -> MerkleTree:
    return MerkleTree(LEAVES)


def test_every_size_has_the_root_of_the_definition(tree):
    assert [tree.root(size) for size in range(LARGEST + 1)] == ROOTS
    for size in range(LARGEST + 1):
        assert MerkleTree(LEAVES[:size]).root() == ROOTS[size]


def test_every_leaf_is_in_every_size_that_holds_it_and_no_other_is_in_its_place(tree):
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            claim = {"index": index, "size": size, "leaf": leaf_hash(LEAVES[index]), "root": ROOTS[size]}
            assert verify_inclusion(proof=proof, **claim)
            other = (index + 1) % LARGEST
            assert not verify_inclusion(proof=proof, **claim | {"leaf": leaf_hash(LEAVES[other])})
            assert not verify_inclusion(proof=proof, **claim | {"root": ROOTS[size - 1]})
            for place in {index - 1, index + 1, index ^ 2} - {index}:
                assert not verify_inclusion(proof=proof, **claim | {"index": place})
            for wrong in changes(proof, all_bytes=size <= 17):
                assert not verify_inclusion(proof=wrong, **claim)


def test_every_size_contains_every_smaller_one_and_no_other(tree):
    for new in range(1, LARGEST + 1):
        for old in range(1, new + 1):
            proof = tree.consistency_proof(old, new)
            claim = {"old": old, "new": new, "old_root": ROOTS[old], "new_root": ROOTS[new]}
            assert verify_consistency(proof=proof, **claim)
            assert not verify_consistency(proof=proof, **claim | {"old_root": ROOTS[old - 1]})
            assert not verify_consistency(proof=proof, **claim | {"new_root": ROOTS[new - 1]})
            assert not verify_consistency(proof=proof, **claim | {"old": new + 1})
            for wrong in changes(proof, all_bytes=new <= 17):
                assert not verify_consistency(proof=wrong, **claim)


def test_a_log_that_was_rewritten_has_no_consistency_proof(tree):
    for altered in range(20):
        rewritten = MerkleTree([*LEAVES[:altered], b"another", *LEAVES[altered + 1 :]])
        claim = {"old": 20, "new": LARGEST, "old_root": ROOTS[20], "new_root": rewritten.root()}
        for proof in (tree.consistency_proof(20), rewritten.consistency_proof(20)):
            assert not verify_consistency(proof=proof, **claim)


def test_a_proof_is_not_accepted_for_a_smaller_or_larger_size_that_has_the_same_leaf_in_its_place(tree):
    """Above a complete subtree the hashes of 8 + n leaves are those of n leaves, and one more."""
    for index, size in [(0, 1), (0, 3), (2, 3), (3, 4), (4, 5), (7, 8)]:
        leaf, root = leaf_hash(LEAVES[8 + index]), ROOTS[8 + size]
        proof = tree.inclusion_proof(8 + index, 8 + size)
        assert verify_inclusion(index=8 + index, size=8 + size, leaf=leaf, proof=proof, root=root)
        assert not verify_inclusion(index=index, size=size, leaf=leaf, proof=proof, root=root)
        short = {
            "leaf": leaf_hash(LEAVES[index]),
            "proof": tree.inclusion_proof(index, size),
            "root": ROOTS[size],
        }
        assert verify_inclusion(index=index, size=size, **short)
        assert not verify_inclusion(index=8 + index, size=8 + size, **short)
    for old, new in [(3, 4), (3, 7), (5, 6), (6, 8), (7, 8)]:
        claim = {"old_root": ROOTS[8 + old], "new_root": ROOTS[8 + new]}
        proof = tree.consistency_proof(8 + old, 8 + new)
        assert verify_consistency(old=8 + old, new=8 + new, proof=proof, **claim)
        assert not verify_consistency(old=old, new=new, proof=proof, **claim)
        claim = {"old_root": ROOTS[old], "new_root": ROOTS[new], "proof": tree.consistency_proof(old, new)}
        assert verify_consistency(old=old, new=new, **claim)
        assert not verify_consistency(old=8 + old, new=8 + new, **claim)


def test_every_log_contains_the_empty_one(tree):
    assert tree.consistency_proof(0) == ()
    claim = {"old": 0, "new": LARGEST, "old_root": EMPTY_ROOT, "new_root": ROOTS[LARGEST]}
    assert verify_consistency(proof=(), **claim)
    assert not verify_consistency(proof=(EMPTY_ROOT,), **claim)
    assert not verify_consistency(proof=(), **claim | {"old_root": ROOTS[1]})
    assert verify_consistency(old=0, new=0, old_root=EMPTY_ROOT, new_root=EMPTY_ROOT, proof=())


def test_nothing_is_in_an_empty_log():
    assert not verify_inclusion(index=0, size=0, leaf=EMPTY_ROOT, proof=(), root=EMPTY_ROOT)
    assert not verify_inclusion(index=-1, size=1, leaf=leaf_hash(b""), proof=(), root=leaf_hash(b""))
    assert verify_inclusion(index=0, size=1, leaf=leaf_hash(b""), proof=(), root=leaf_hash(b""))


def test_a_leaf_does_not_pass_for_two_hashes():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda tree: tree.root(3), "has no size 3: permitted is 0 to 2"),
        (lambda tree: tree.root(-1), "has no size -1"),
        (lambda tree: tree.inclusion_proof(2), "leaf 2 is not in a log of size 2"),
        (lambda tree: tree.inclusion_proof(-1), "leaf -1 is not in a log of size 2"),
        (lambda tree: tree.inclusion_proof(0, 3), "has no size 3"),
        (lambda tree: tree.consistency_proof(3), "a log of size 2 holds none of size 3"),
        (lambda tree: tree.consistency_proof(-1), "holds none of size -1"),
        (lambda tree: tree.consistency_proof(1, 3), "has no size 3"),
    ],
)
def test_what_a_tree_does_not_hold_is_said_in_one_line(ask, message):
    with pytest.raises(LedgerError, match=message):
        ask(MerkleTree([b"a", b"b"]))
