"""Keys and tokens: those of an issuer, and what an attacker makes of them."""

import base64
import hashlib
import hmac
import json
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = "a secret of the issuer that has more than 32 bytes"
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
# Of which what holds is tried, and what concerns the key; the rest does not hang on the algorithm.
FURTHER = ("PS256", "ES384")


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _part(content):
    """A header or a payload; bytes stand as they are."""
    return base64url(content if isinstance(content, bytes) else json.dumps(content).encode())


def hs256(signed, secret):
    """The MAC by hand: PyJWT refuses a public key as a secret, an attacker does not."""
    return hmac.new(secret, signed.encode(), hashlib.sha256).digest()


class Issuer:
    """One key, and the tokens it signs."""

    def __init__(self, algorithm, kid=None):
        self.algorithm, self.kid = algorithm, kid
        self.shown = []
        self.key = {
            "HS256": lambda: SECRET.encode(),
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
            "PS256": lambda: rsa.generate_private_key(65537, 2048),
            "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }[algorithm]()

    @property
    def is_shared(self):
        return self.algorithm == "HS256"

    @property
    def public_pem(self):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def jwk(self):
        """The public key as a member of a key set."""
        kinds = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm,
                 "PS256": jwt.algorithms.RSAAlgorithm, "ES384": jwt.algorithms.ECAlgorithm,
                 "EdDSA": jwt.algorithms.OKPAlgorithm}
        key = kinds[self.algorithm].to_jwk(self.key.public_key(), as_dict=True)
        named = {"kid": self.kid} if self.kid else {}
        return {k: v for k, v in key.items() if k != "key_ops"} | named | {"use": "sig", "alg": self.algorithm}

    def flags(self, folder):
        """Makes a server trust this issuer."""
        file = folder / f"{self.algorithm}.key"
        file.write_bytes(self.key if self.is_shared else self.public_pem)
        option = "--auth-secret-file" if self.is_shared else "--auth-key-file"
        return ["--auth-algorithm", self.algorithm, option, file]

    def header(self, **more):
        named = {"kid": self.kid} if self.kid else {}
        return {"alg": self.algorithm, "typ": "JWT"} | named | more

    def compact(self, header, payload, sign=None):
        """A token of a header and a payload, each a dictionary or bytes; signed unless told how."""
        signed = f"{_part(header)}.{_part(payload)}"
        if sign is None:
            algorithm = jwt.get_algorithm_by_name(self.algorithm)
            signature = algorithm.sign(signed.encode(), self.key)
        else:
            signature = sign(signed)
        token = f"{signed}.{base64url(signature)}"
        self.shown.append(token)
        return token

    def token(self, subject="alice", roles=("user",), drop=(), **more):
        """A token that holds for ten minutes, unless `more` or `drop` say otherwise."""
        return self.compact(self.header(), claims(subject, roles, drop, **more))

    def bearer(self, *args, **kwargs):
        return f"Bearer {self.token(*args, **kwargs)}"

    def parts_shown(self):
        """What must stand in no log: payloads and signatures of every token that was made."""
        parts = {part for token in self.shown for part in token.split(".")[1:]}
        return {part for part in parts if len(part) >= 16}


def claims(subject="alice", roles=("user",), drop=(), **more):
    roles = list(roles) if isinstance(roles, tuple) else roles
    plain = {"sub": subject, "roles": roles, "exp": int(time.time()) + 600} | more
    return {k: v for k, v in plain.items() if k not in drop}
