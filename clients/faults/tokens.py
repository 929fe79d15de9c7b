"""Tokens by HS256."""

import base64
import hashlib
import hmac
import json
import time

SECRET = "a secret of these tests that has more than 32 bytes"


def token(secret=SECRET, **claims):
    """A token of ann's, an admin, that holds for ten minutes."""
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": "ann", "exp": int(time.time()) + 600, "roles": ["admin"]} | claims
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(mac)).decode()
