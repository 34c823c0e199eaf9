"""Verifies a license with PyJWT alone: verify_pyjwt.py JWKS_FILE LICENSE_FILE."""

import json
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

jwks, token = (Path(path).read_text() for path in sys.argv[1:3])
keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(json.loads(jwks)).keys}


def claims(token: str, audience: str = "acme-app") -> dict:
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "license+jwt", header
    return jwt.decode(
        token,
        keys[header["kid"]],
        algorithms=["EdDSA"],
        audience=audience,
        options={"require": ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"]},
    )


print("valid:", claims(token)["plan"])
head, body, signature = token.split(".")
forged = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
for attempt in (lambda: claims(f"{head}.{body}.{forged}"), lambda: claims(token, "other-app")):
    try:
        attempt()
        sys.exit("accepted what must be refused")
    except jwt.InvalidTokenError as error:
        print("refused:", type(error).__name__)

# PyJWT knows only `exp`: a license that is over has to be noticed by hand.
key, now = Ed25519PrivateKey.generate(), int(time.time())
over = {**claims(token), "license_expires": now - 1, "grace_until": None, "exp": now + 3600}
signed = jwt.encode(over, key, algorithm="EdDSA", headers={"typ": "license+jwt"})
jwt.decode(signed, key.public_key(), algorithms=["EdDSA"], audience="acme-app")
print("accepted, although it is over")
