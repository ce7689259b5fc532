"""What kind of key a node brings, in words: only those on the curve P-384 are taken."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def is_node_key(key: object) -> bool:
    """Say whether a key, or the public half of one, is of the kind by which nodes prove who they are."""
    if not isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return False
    return isinstance(key.curve, ec.SECP384R1)


def kind_of(key: object) -> str:
    """Return what a key is, or the public half of one."""
    match key:
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
            return f"a key on the curve {_CURVES.get(key.curve.name, key.curve.name)}"
        case ed25519.Ed25519PrivateKey() | ed25519.Ed25519PublicKey():
            return "an Ed25519 key"
        case rsa.RSAPrivateKey() | rsa.RSAPublicKey():
            return "an RSA key"
    return "a key of another kind"
