"""Makes the keys and tokens of this folder with PyJWT, an implementation that is not ours.

The private halves are thrown away. Run: pip install pyjwt cryptography; python make_tokens.py
"""

import datetime
import json
import pathlib

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

HERE = pathlib.Path(__file__).parent
CLAIMS = {"sub": "alice", "roles": ["user", "reader"], "iat": 1699999900, "exp": 1700003600}
SECRET = "an example secret, long enough for every one of the three hashes of HS*."


def public_pem(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def jwk(key, algorithm, **more):
    published = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    published.pop("key_ops", None)
    return published | more


def certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer.example")])
    day = datetime.datetime(2023, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day + datetime.timedelta(9999))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


keys = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
kinds = {"RS": "rsa", "PS": "rsa", "ES256": "p256", "ES384": "p384", "EdDSA": "ed25519"}
tokens = {}
for name in ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]:
    kind = kinds.get(name) or kinds.get(name[:2])
    tokens[name] = jwt.encode(CLAIMS, keys[kind] if kind else SECRET, algorithm=name)
for name, key in keys.items():
    (HERE / f"{name}.pem").write_bytes(public_pem(key))
(HERE / "rsa-certificate.pem").write_bytes(certificate(keys["rsa"]))
(HERE / "rsa-1024.pem").write_bytes(public_pem(rsa.generate_private_key(65537, 1024)))
(HERE / "secp256k1.pem").write_bytes(public_pem(ec.generate_private_key(ec.SECP256K1())))

old, new = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
sets = {
    "old": [jwk(old, "ES256", kid="old", use="sig", alg="ES256")],
    "both": [jwk(old, "ES256", kid="old"), jwk(new, "ES256", kid="new")],
    "new": [jwk(new, "ES256", kid="new")],
    "mixed": [
        {"kty": "oct", "kid": "secret", "k": "AAAA"},
        jwk(keys["rsa"], "RS256", kid="rsa", use="sig"),
        jwk(keys["rsa"], "RS256", kid="ps-only", alg="PS256"),
        jwk(keys["rsa"], "RS256", kid="encrypts", use="enc"),
        jwk(keys["rsa"], "RS256", kid="signs", key_ops=["sign"]),
        jwk(keys["p256"], "ES256", kid="p256"),
        jwk(keys["ed25519"], "EdDSA", kid="ed25519", key_ops=["verify"]),
        {"kty": "EC", "crv": "P-521", "kid": "p521", "x": "AA", "y": "AA"},
        {"kid": "no kind"},
    ],
}
for name, published in sets.items():
    (HERE / f"jwks-{name}.json").write_text(json.dumps({"keys": published}, indent=1) + "\n")
tokens["old"] = jwt.encode(CLAIMS, old, algorithm="ES256", headers={"kid": "old"})
tokens["new"] = jwt.encode(CLAIMS, new, algorithm="ES256", headers={"kid": "new"})
tokens["new without kid"] = jwt.encode(CLAIMS, new, algorithm="ES256")
tokens["new that says old"] = jwt.encode(CLAIMS, new, algorithm="ES256", headers={"kid": "old"})
for kid in ["rsa", "ps-only", "encrypts", "signs"]:
    tokens[f"RS256 {kid}"] = jwt.encode(CLAIMS, keys["rsa"], algorithm="RS256", headers={"kid": kid})
tokens["PS256 ps-only"] = jwt.encode(CLAIMS, keys["rsa"], algorithm="PS256", headers={"kid": "ps-only"})
tokens["EdDSA ed25519"] = jwt.encode(CLAIMS, keys["ed25519"], algorithm="EdDSA", headers={"kid": "ed25519"})
(HERE / "tokens.json").write_text(json.dumps(tokens, indent=1) + "\n")
(HERE / "secret.txt").write_text(SECRET)
