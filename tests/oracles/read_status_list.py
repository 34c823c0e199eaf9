"""Reads a status list with openvc-core alone: read_status_list.py JWKS_FILE LIST_FILE LICENSES_FILE.

Prints for each license, one a line, whether it is revoked, and how many bits of the list are set.
"""

import json
import sys
from pathlib import Path

import jwt
from openvc.status.issue import verify_status_list_token
from openvc.status.token_status_list import check_token_status, decode_status_list

jwks, token, licenses = (Path(path).read_text() for path in sys.argv[1:4])
keys = {key["kid"]: key for key in json.loads(jwks)["keys"]}


def read(uri: str) -> dict:
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return verify_status_list_token(token, public_key_jwk=key, expected_uri=uri)


for license in licenses.split():
    claims = jwt.decode(license, options={"verify_signature": False})
    status = check_token_status(claims, resolve_status_list_token=read)
    print("revoked" if status.revoked else "valid")
    uri = claims["status"]["status_list"]["uri"]
bits = decode_status_list(read(uri)["status_list"]["lst"])
print(len(bits) * 8, "places,", sum(byte.bit_count() for byte in bits), "revoked")
