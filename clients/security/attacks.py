"""The table of attacks: what is shown as `Authorization`, each value a header of its own."""

import base64
import json
import time

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from credentials import Issuer, base64url, claims, hs256

HOUR = 3600


def now():
    return int(time.time())


def signed(**more):
    """A token that is signed well and says something that must not be believed."""
    drop = [name for name, value in more.items() if value is DROPPED]
    kept = {name: value for name, value in more.items() if value is not DROPPED}
    return lambda issuer: issuer.compact(issuer.header(), claims(drop=drop, **kept))


def raw(payload):
    """A signed payload of these very bytes; `EXP` is a date to come."""
    return lambda issuer: issuer.compact(issuer.header(), payload.replace(b"EXP", str(now() + 600).encode()))


def header(**more):
    return lambda issuer: issuer.compact(issuer.header(**more), claims())


def unsigned(algorithm, signature=b""):
    def make(issuer):
        return issuer.compact({"alg": algorithm, "typ": "JWT"}, claims(), lambda _: signature)
    return make


def confused(algorithm, key_of):
    """Signed with the public key as if it were a shared secret."""
    def make(issuer):
        return issuer.compact({"alg": algorithm, "typ": "JWT"}, claims(), lambda text: hs256(text, key_of(issuer)))
    return make


def smuggled(**names):
    """Signed with a key of the attacker's, which the header brings along."""
    def make(issuer):
        own = Issuer("RS256" if issuer.is_shared else issuer.algorithm)
        said = {name: own.jwk() if value == "KEY" else value for name, value in names.items()}
        return own.compact(own.header(**said), claims())
    return make


def foreign(issuer):
    """Signed by the right algorithm with another key."""
    if issuer.is_shared:
        return issuer.compact(issuer.header(), claims(), lambda text: hs256(text, b"x" * 32))
    return Issuer(issuer.algorithm).token()


def other_algorithm(name):
    return lambda issuer: Issuer(name).token() if issuer.algorithm != name else foreign(issuer)


def changed(change):
    """A good token, changed afterwards."""
    def make(issuer):
        head, payload, signature = issuer.token().split(".")
        return ".".join(change(head, payload, signature))
    return make


def promoted(head, payload, signature):
    document = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return head, base64url(json.dumps(document | {"roles": ["admin"]}).encode()), signature


def reheaded(head, payload, signature):
    return base64url(b'{"alg":"none"}'), payload, signature


def bearer(make):
    return lambda issuer: [f"Bearer {make(issuer)}"]


def shown(form):
    """A good token in a header of another form."""
    return lambda issuer: [form.replace("TOKEN", issuer.token())]


DROPPED = object()

TOKENS = {
    **{f"alg {name!r}": unsigned(name) for name in ("none", "None", "NONE", "nOnE", "", " none", "null", "HS256 ", None, 0, [])},
    "alg none with the bytes of a signature": unsigned("none", b"x" * 32),
    "alg HS512 by another key": unsigned("HS512", b"x" * 64),
    "no alg at all": lambda i: i.compact({"typ": "JWT"}, claims()),
    "alg in lower case": lambda i: i.compact(i.header(alg=i.algorithm.lower()), claims()),
    "alg as a list": header(alg=["none"]),
    "RS256 of the attacker's": other_algorithm("RS256"),
    "ES256 of the attacker's": other_algorithm("ES256"),
    "EdDSA of the attacker's": other_algorithm("EdDSA"),
    "signed by another key": foreign,
    "a jwk in the header": smuggled(jwk="KEY"),
    "a jku in the header": smuggled(jku="http://127.0.0.1:1/keys"),
    "an x5u in the header": smuggled(x5u="http://127.0.0.1:1/chain"),
    "an x5c in the header": smuggled(x5c=["MIIB"]),
    "jku, jwk and kid in the header": smuggled(jku="http://127.0.0.1:1/", jwk="KEY", kid="../../dev/null"),
    "a kid that is no text": header(kid=7),
    "a critical extension": header(crit=["exp"]),
    "an empty list of critical extensions": header(crit=[]),
    "an unencoded payload": header(b64=False, crit=["b64"]),
    "a proof of possession": header(typ="dpop+jwt"),
    "a logout token": header(typ="logout+jwt"),
    "expired": signed(exp=now() - HOUR),
    "expired for a minute": signed(exp=now() - 60),
    "not yet valid": signed(nbf=now() + HOUR),
    "nbf of text": signed(nbf="0"),
    "no exp": signed(exp=DROPPED),
    **{f"exp {value!r}": signed(exp=value) for value in (None, str(now() + HOUR), "never", True, [], {}, -1, 0, 1e17, 10**20)},
    "exp NaN": raw(b'{"sub":"alice","exp":NaN}'),
    "exp Infinity": raw(b'{"sub":"alice","exp":Infinity}'),
    "exp 1e999": raw(b'{"sub":"alice","exp":1e999}'),
    "exp -0.5": raw(b'{"sub":"alice","exp":-0.5}'),
    "iat of text": signed(iat="yesterday"),
    "aud where none is configured": signed(aud="somebody"),
    "aud as an empty list": signed(aud=[]),
    "aud null": signed(aud=None),
    "no sub": signed(sub=DROPPED),
    **{f"sub {value!r}": signed(sub=value)
       for value in ("", " ", "Anonymous", "anonymous", " ANONYMOUS ", 7, ["alice"], None, True, {"id": "alice"})},
    **{f"roles {value!r}": signed(roles=value) for value in (7, True, {"admin": True}, ["user", 1], [["admin"]], [None])},
    "oversize": signed(padding="x" * 20_000),
    "exp twice": raw(b'{"sub":"alice","exp":1,"exp":EXP}'),
    "sub twice": raw(b'{"sub":"mallory","exp":EXP,"sub":"alice"}'),
    "roles twice, one escaped": raw(b'{"sub":"alice","exp":EXP,"roles":["user"],"\\u0072oles":["admin"]}'),
    "alg twice": lambda i: i.compact(f'{{"alg":"none","alg":"{i.algorithm}"}}'.encode(), claims()),
    "a payload that is no object": raw(b'["alice"]'),
    "a payload that is no JSON": raw(b"alice"),
    "a payload that is not UTF-8": raw(b'{"sub":"al\xffce","exp":EXP}'),
    "an empty payload": raw(b""),
    "a payload with a byte order mark": raw(b'\xef\xbb\xbf{"sub":"alice","exp":EXP}'),
    "a payload with more behind it": raw(b'{"sub":"alice","exp":EXP}{}'),
    "a payload of deep nesting": raw(b'{"sub":"alice","exp":EXP,"x":' + b"[" * 3000 + b"]" * 3000 + b"}"),
    "a cut signature": changed(lambda h, p, s: (h, p, s[:-4])),
    "a longer signature": changed(lambda h, p, s: (h, p, s + "AAAA")),
    "an empty signature": changed(lambda h, p, s: (h, p, "")),
    "no signature and no dot": changed(lambda h, p, s: (h, p)),
    "a dot too many": changed(lambda h, p, s: (h, p, s, "")),
    "an encrypted token's five parts": changed(lambda h, p, s: (h, p, s, p, s)),
    "a padded signature": changed(lambda h, p, s: (h, p, s + "=")),
    "a zero signature": changed(lambda h, p, s: (h, p, base64url(bytes(64)))),
    "the signature of another payload": lambda i: ".".join([*i.token().split(".")[:2], i.token("bob").split(".")[2]]),
    "another payload": changed(promoted),
    "another header": changed(reheaded),
    "no payload": changed(lambda h, p, s: (h, "", s)),
    "dots alone": lambda i: "..",
    "garbage": lambda i: "garbage",
    "no base64": lambda i: "a+b.c/d.e~f",
    "padding alone": lambda i: "====",
}

# For issuers with a key pair: their public key as the secret of a MAC, in every form it has.
CONFUSION = {
    f"{algorithm} with {form}": confused(algorithm, key_of)
    for algorithm in ("HS256", "HS384", "HS512")
    for form, key_of in {
        "the public key": lambda i: i.public_pem,
        "the public key without its last line break": lambda i: i.public_pem.rstrip(b"\n"),
        "the public key in DER": lambda i: base64.b64decode(b"".join(i.public_pem.splitlines()[1:-1])),
        "an empty secret": lambda i: b"",
        "the key's JWK": lambda i: json.dumps(i.jwk()).encode(),
    }.items()
}

def otherwise(algorithm, named=None):
    """Signed with the issuer's own key by another algorithm, under its name or the right one."""
    def make(issuer):
        other = jwt.get_algorithm_by_name(algorithm)
        head = {"alg": named or issuer.algorithm, "typ": "JWT"}
        return issuer.compact(head, claims(), lambda text: other.sign(text.encode(), issuer.key))
    return make


# The same key pair by another algorithm of its kind, which is not in `auth_algorithm`.
OF_THE_SAME_KEY = {
    "RS256": {"PS256 by the same key": otherwise("PS256", "PS256"), "RS384 by the same key": otherwise("RS384", "RS384"),
              "a signature of PS256 under the name RS256": otherwise("PS256")},
    "PS256": {"RS256 by the same key": otherwise("RS256", "RS256"), "PS512 by the same key": otherwise("PS512", "PS512"),
              "a signature of RS256 under the name PS256": otherwise("RS256")},
    "ES384": {"a signature in DER": lambda i: i.compact(
        i.header(), claims(), lambda text: i.key.sign(text.encode(), ec.ECDSA(hashes.SHA384())))},
}
# What of the table of tokens concerns the key.
OF_THE_KEY = [name for name in TOKENS if name.startswith("alg ") or "attacker" in name or "signature" in name
              or "in the header" in name or name in ("signed by another key", "another payload", "another header")]

# Header values as a whole.
HEADERS = {
    "two headers": lambda i: [f"Bearer {i.token()}"] * 2,
    "a wrong header before a right one": lambda i: ["Bearer x", f"Bearer {i.token()}"],
    "a right header before a wrong one": lambda i: [f"Bearer {i.token()}", "Basic eDp5"],
    "a right header before an empty one": lambda i: [f"Bearer {i.token()}", ""],
    "Basic": lambda i: ["Basic YWxpY2U6eA=="],
    "Basic with a token": shown("Basic TOKEN"),
    "Negotiate": lambda i: ["Negotiate YIIx"],
    "Digest": lambda i: ['Digest username="alice"'],
    "Token": shown("Token TOKEN"),
    "JWT": shown("JWT TOKEN"),
    "the token alone": shown("TOKEN"),
    "Bearer alone": lambda i: ["Bearer"],
    "Bearer and spaces": lambda i: ["Bearer   "],
    "an empty header": lambda i: [""],
    "two tokens": shown("Bearer TOKEN TOKEN"),
    "two tokens by comma": shown("Bearer TOKEN,TOKEN"),
    "two schemes": shown("Bearer TOKEN, Basic eDp5"),
    "a word behind the token": shown("Bearer TOKEN x"),
    "a tab for the space": shown("Bearer\tTOKEN"),
    "no space": shown("BearerTOKEN"),
    "a colon": shown("Bearer: TOKEN"),
    "quoted": shown('Bearer "TOKEN"'),
    "as a parameter": shown("Bearer token=TOKEN"),
    "Bearer twice": shown("Bearer Bearer TOKEN"),
    "letters beyond ASCII": shown("Bearer é.TOKEN"),
    "a Cyrillic scheme": shown("Веarer TOKEN"),
    "a no-break space": shown("Bearer\u00a0TOKEN"),
    "a byte that is not UTF-8": shown("Bearer \udcffTOKEN"),
    "percent-encoded": shown("Bearer%20TOKEN"),
}

# What no HTTP header may hold: refused by the protocol itself, or as a credential; never let in.
BROKEN = {
    "a line break in the token": shown("Bearer TOKEN\r\n x"),
    "a bare line feed": shown("Bearer x\nAuthorization: Bearer TOKEN"),
    "a carriage return": shown("Bearer TOKEN\rx"),
    "a NUL": shown("Bearer TOKEN\0"),
    "a folded token": shown("Bearer\r\n TOKEN"),
}

# So that a table which refuses everything does not pass: these hold.
GOOD = {
    "a plain token": lambda i: [i.bearer()],
    "bearer in lower case": lambda i: [f"bearer {i.token()}"],
    "BEARER in upper case": lambda i: [f"BEARER {i.token()}"],
    "several spaces": lambda i: [f"Bearer   {i.token()}"],
    "exp with a fraction": bearer(lambda i: i.token(exp=time.time() + 600.5)),
    "exp far ahead": bearer(lambda i: i.token(exp=4_000_000_000)),
    "expired within the leeway": bearer(lambda i: i.token(exp=now() - 5)),
    "nbf in the past": bearer(lambda i: i.token(nbf=now() - 60)),
    "one role as text": bearer(lambda i: i.compact(i.header(), claims() | {"roles": "user"})),
    "no roles": bearer(lambda i: i.token(drop=("roles",))),
    "an access token by RFC 9068": bearer(lambda i: i.compact(i.header(typ="at+jwt"), claims())),
    "no typ": bearer(lambda i: i.compact({"alg": i.algorithm}, claims())),
    "an unused jku": bearer(header(jku="http://127.0.0.1:1/")),
}


def attacks(algorithm):
    """Every attack on an issuer of an algorithm: name and what is shown."""
    table = {name: bearer(make) for name, make in TOKENS.items()}
    if algorithm != "HS256":
        table |= {name: bearer(make) for name, make in CONFUSION.items()}
    same = OF_THE_SAME_KEY.get(algorithm, {})
    return table | HEADERS | {name: bearer(make) for name, make in same.items()}


def attacks_on_the_key(algorithm):
    """Of these, the ones that concern the key: names."""
    return [*OF_THE_KEY, *CONFUSION, *OF_THE_SAME_KEY.get(algorithm, {})]
