"""Protecting a private key by a passphrase, in the standard form that OpenSSL writes and reads too.

The library's own encryption stretches a passphrase by 2048 rounds of PBKDF2 only, which graphics cards try by
the million a second; scrypt needs 16 MiB of memory and some 50 ms for every guess.
Source: RFC 5958, section 3 (the envelope); RFC 8018, section 6.2 (PBES2); RFC 7914, section 7 (scrypt in it).
"""

from __future__ import annotations

import base64
import secrets
import textwrap

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

_COST, _BLOCK_SIZE, _PARALLEL = 2**14, 8, 1
"""What `openssl pkcs8 -scrypt` takes; more exceeds the memory that OpenSSL grants when it reads."""

_INTEGER, _OCTETS, _OBJECT, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES_256_CBC = bytes.fromhex("60864801650304012a")


def encrypted_pem(private: bytes, passphrase: str) -> bytes:
    """Return a private key's PEM, encrypted; `load_pem_private_key` reads it.

    Args:
        private: the key as PKCS #8 DER.
        passphrase: not empty.
    """
    salt, start = secrets.token_bytes(16), secrets.token_bytes(16)
    kdf = Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK_SIZE, p=_PARALLEL)
    encryptor = Cipher(AES(kdf.derive(passphrase.encode())), CBC(start)).encryptor()
    padder = PKCS7(AES.block_size).padder()
    encrypted = encryptor.update(padder.update(private) + padder.finalize()) + encryptor.finalize()
    numbers = b"".join(_integer(number) for number in (_COST, _BLOCK_SIZE, _PARALLEL))
    derivation = _sequence(_der(_OBJECT, _SCRYPT), _sequence(_der(_OCTETS, salt), numbers))
    cipher = _sequence(_der(_OBJECT, _AES_256_CBC), _der(_OCTETS, start))
    algorithm = _sequence(_der(_OBJECT, _PBES2), _sequence(derivation, cipher))
    return _pem(_sequence(algorithm, _der(_OCTETS, encrypted)))


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _der(tag: int, content: bytes) -> bytes:
    """Return a value with its tag and its length, which is below 256 here."""
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + length + content


def _pem(data: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(data).decode("ascii"), 64)
    title = "ENCRYPTED PRIVATE KEY"
    return "\n".join([f"-----BEGIN {title}-----", *lines, f"-----END {title}-----", ""]).encode()
