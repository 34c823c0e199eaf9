"""Verifies a license with PyJWT alone: verify_pyjwt.py JWKS_FILE LICENSE_FILE."""

import json
import sys
from pathlib import Path

import jwt

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
