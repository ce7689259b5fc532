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

# The leaves, roots and proofs that the Certificate Transparency implementations test themselves with
# (merkle_tree_test of google/certificate-transparency, testonly/constants.go of transparency-dev/merkle).
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION = {  # (index from 0, size): proof
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CT_CONSISTENCY = {  # (old, new): proof
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
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


def test_roots_of_the_reference_leaves():
    growing = MerkleTree()
    for size, root in enumerate(CT_ROOTS):
        assert growing.root().hex() == root
        assert naive_root(CT_LEAVES[:size]).hex() == root
        if size < 8:
            growing.append(CT_LEAVES[size])
    assert [growing.root(size).hex() for size in range(9)] == CT_ROOTS


@pytest.mark.parametrize(("index", "size"), CT_INCLUSION)
def test_reference_inclusion_proofs(index, size):
    proof = tuple(map(bytes.fromhex, CT_INCLUSION[index, size]))
    assert MerkleTree(CT_LEAVES).inclusion_proof(index, size) == proof
    root, leaf = bytes.fromhex(CT_ROOTS[size]), leaf_hash(CT_LEAVES[index])
    assert verify_inclusion(index=index, size=size, leaf=leaf, proof=proof, root=root)


@pytest.mark.parametrize(("old", "new"), CT_CONSISTENCY)
def test_reference_consistency_proofs(old, new):
    proof = tuple(map(bytes.fromhex, CT_CONSISTENCY[old, new]))
    assert MerkleTree(CT_LEAVES).consistency_proof(old, new) == proof
    old_root, new_root = bytes.fromhex(CT_ROOTS[old]), bytes.fromhex(CT_ROOTS[new])
    assert verify_consistency(old=old, new=new, old_root=old_root, new_root=new_root, proof=proof)


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
