from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import LedgerError, LedgerTampered
from common.ledger.keys import SigningKey
from common.transparency.note import (
    Checkpoint,
    Note,
    join_note,
    key_id,
    open_checkpoint,
    open_note,
    sign_checkpoint,
    sign_note,
    verifier_key,
)

# The example of golang.org/x/mod/sumdb/note: PRIVATE+KEY+PeterNeumann+c74f20a3+<type and seed>.
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_NOTE = (
    f"{GO_TEXT}\n\N{EM DASH} PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of the C2SP signed-note specification, version 1.1.0.
C2SP_VERIFIER = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n\N{EM DASH} example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
NAME = "example.com/log"


def published(verifier: str) -> tuple[str, bytes]:
    """Return a verifier key's name and public key."""
    name, _, encoded = verifier.split("+", 2)
    return name, base64.b64decode(encoded)[1:]


@pytest.fixture
def checkpoint() -> Checkpoint:
    return Checkpoint(origin=NAME, size=20852163, root=bytes(range(32)))


@pytest.fixture
def signed(checkpoint, key) -> str:
    return sign_checkpoint(checkpoint, key, NAME)


def test_the_note_of_the_go_implementation():
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(GO_SEED))
    assert verifier_key("PeterNeumann", key.public) == GO_VERIFIER
    assert sign_note(GO_TEXT, key, "PeterNeumann") == GO_NOTE
    assert open_note(GO_NOTE, key.public, "PeterNeumann").text == GO_TEXT


def test_the_note_of_the_specification():
    name, public_key = published(C2SP_VERIFIER)
    assert key_id(name, public_key).hex() == "530d903a"
    assert verifier_key(name, public_key) == C2SP_VERIFIER
    note = open_note(C2SP_NOTE, public_key, name)
    assert note.text == "This is an example message.\n"
    assert join_note(note, public_key, name) == C2SP_NOTE


def test_the_form_of_a_checkpoint(checkpoint, signed, key):
    lines = signed.split("\n")
    assert lines[:4] == [NAME, "20852163", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ""]
    assert checkpoint.text == "\n".join(lines[:3]) + "\n"
    dash, name, encoded = lines[4].split(" ")
    assert (dash, name) == ("\u2014", NAME)
    assert base64.b64decode(encoded)[:4] == key_id(NAME, key.public)
    assert lines[5:] == [""]
    assert open_checkpoint(signed, key.public, NAME) == checkpoint


@pytest.mark.parametrize("size", [0, 1, 9, 10, 10**15])
def test_any_size_is_read_back(key, size):
    checkpoint = Checkpoint(origin=NAME, size=size, root=b"\xff" * 32)
    assert open_checkpoint(sign_checkpoint(checkpoint, key, NAME), key.public, NAME) == checkpoint


def test_a_held_signature_makes_the_whole_note_again(checkpoint, signed, key):
    held = open_note(signed, key.public, NAME).signature
    assert len(held) == 64
    assert join_note(Note(text=checkpoint.text, signature=held), key.public, NAME) == signed


def test_every_changed_byte_is_detected(signed, key):
    data = signed.encode()
    for place in range(len(data)):
        for flip in (1, 4, 0x20, 0x80):
            other = bytearray(data)
            other[place] ^= flip
            with pytest.raises((LedgerTampered, UnicodeDecodeError)):
                open_checkpoint(other.decode(), key.public, NAME)


def test_every_missing_or_doubled_character_is_detected(signed, key):
    for place in range(len(signed)):
        for other in (
            signed[:place] + signed[place + 1 :],
            signed[: place + 1] + signed[place:],
            signed[:place],
        ):
            with pytest.raises(LedgerTampered):
                open_checkpoint(other, key.public, NAME)


def test_signatures_of_unknown_keys_are_ignored(checkpoint, signed, key):
    witness = sign_checkpoint(checkpoint, SigningKey.generate(), "witness.example").split("\n")[4]
    same_name = sign_checkpoint(checkpoint, SigningKey.generate(), NAME).split("\n")[4]
    long = f"\N{EM DASH} quantum.example {base64.b64encode(bytes(5000)).decode()}"
    head, own = signed.rsplit("\n\n", 1)
    for before, after in (([witness], []), ([], [witness]), ([same_name, long] * 8, [witness])):
        note = "\n".join([head, "", *before, own[:-1], *after, ""])
        assert open_checkpoint(note, key.public, NAME) == checkpoint


def test_a_signature_of_the_known_key_that_fails_rejects_the_note(signed, key):
    own = signed.split("\n")[4]
    wrong = base64.b64encode(key_id(NAME, key.public) + bytes(64)).decode()
    for lines in ([own, f"\N{EM DASH} {NAME} {wrong}"], [f"\N{EM DASH} {NAME} {wrong}", own]):
        with pytest.raises(LedgerTampered, match="signature does not hold"):
            open_checkpoint("\n".join([*signed.split("\n")[:4], *lines, ""]), key.public, NAME)


def test_a_note_is_refused_for_another_key_or_name(signed, key):
    other = SigningKey.generate()
    with pytest.raises(LedgerTampered, match=r"no signature of the key example.com/log\+"):
        open_checkpoint(signed, other.public, NAME)
    with pytest.raises(LedgerTampered, match="no signature of the key example.com/other"):
        open_checkpoint(signed, key.public, "example.com/other")


def test_a_checkpoint_of_another_log_of_the_same_key_is_refused(checkpoint, key):
    # A signature covers the text, not the name it stands under: the origin has to be compared.
    relabelled = sign_checkpoint(checkpoint, key, "example.com/other")
    with pytest.raises(LedgerTampered, match="is of the log 'example.com/log', not of example.com/other"):
        open_checkpoint(relabelled, key.public, "example.com/other")
    assert open_checkpoint(relabelled, key.public, "example.com/other", origin=NAME) == checkpoint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("example.com/log\n1\n", "not three lines"),
        ("\n1\n{root}\n", "not three lines"),
        ("example.com/log\n1\n{root}\nextension\n", "not three lines"),
        ("example.com/log\n1\n{root}\n\n", "not three lines"),
        ("example.com/log\n01\n{root}\n", "size is '01'"),
        ("example.com/log\n+1\n{root}\n", "size is"),
        ("example.com/log\n-1\n{root}\n", "size is"),
        ("example.com/log\n1 \n{root}\n", "size is"),
        ("example.com/log\n\u0661\n{root}\n", "size is"),
        ("example.com/log\n" + "9" * 17 + "\n{root}\n", "size is"),
        ("example.com/log\n1\nAAAA\n", "root is"),
        ("example.com/log\n1\n{root} \n", "root is"),
        ("example.com/log\n1\n" + "A" * 42 + "B=\n", "root is"),  # a second text for the same 32 bytes
    ],
)
def test_what_is_signed_but_not_a_checkpoint_in_its_one_form_is_refused(key, text, reason):
    root = base64.b64encode(bytes(32)).decode()
    note = sign_note(text.replace("{root}", root), key, NAME)
    with pytest.raises(LedgerTampered, match=reason):
        open_checkpoint(note, key.public, NAME)


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (lambda note: note.replace("\n\n", "\n"), "not a text, an empty line and signatures"),
        (lambda note: note + "\n", "not a text|is not a signature"),
        (lambda note: note.rsplit("\u2014", 1)[0], "not a text"),
        (lambda note: note.replace("\u2014", "-"), "is not a signature"),
        (lambda note: note.replace("\u2014 ", "\u2014  "), "is not a signature"),
        (lambda note: note[:-1] + " \n", "is not a signature"),
        (lambda note: note + "text\n", "is not a signature"),
        (lambda note: note + "\u2014 a+b AAAAAAAA\n", "is not a signature"),
        (lambda note: note + "\u2014 name AAAAAA==\n", "is not a signature"),
        (lambda note: note.replace("\n", "\r\n"), "control character"),
        (lambda note: note + "\u2014 \ud800 AAAAAAAA\n", "control character"),
        (lambda note: note + "\u2014 x AAAAAAAA\n" * 2**17, "permitted are"),
    ],
)
def test_what_is_not_a_note_is_refused(signed, key, alter, reason):
    with pytest.raises(LedgerTampered, match=reason):
        open_checkpoint(alter(signed), key.public, NAME)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\n", "wide\u3000space", "\ud800"])
def test_a_name_that_a_note_cannot_hold_is_not_signed_under(checkpoint, key, name):
    with pytest.raises(LedgerError, match="key name"):
        sign_checkpoint(checkpoint, key, name)


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "\ud800\n"])
def test_a_text_that_a_note_cannot_hold_is_not_signed(key, text):
    with pytest.raises(LedgerError, match="a note's text"):
        sign_note(text, key, NAME)


@pytest.mark.parametrize(
    "change", [{"size": -1}, {"size": 10**16}, {"root": bytes(31)}, {"origin": ""}, {"origin": "a\n1"}]
)
def test_a_checkpoint_that_could_not_be_read_is_not_signed(key, change):
    fields = {"origin": NAME, "size": 1, "root": bytes(32)} | change
    with pytest.raises(LedgerError, match="cannot be signed"):
        sign_checkpoint(Checkpoint(**fields), key, NAME)
