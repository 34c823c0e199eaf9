"""The usual license, bundle, list and verdict, which cases change, and the book of cases."""

import json

from . import deflate
from .jose import DROP, Key, document, dumps, encode, jwks

DAY = 86_400
NOW = 1_800_000_000  # 2027-01-15T08:00:00Z
AUDIENCE = "acme-app"
ISSUER = "https://acme.example"
LIST_URI = "https://acme.example/status/1"

KEY = Key("signing key 1")
KEY2 = Key("signing key 2")
KEY3 = Key("signing key 3")
ROOT = Key("root key")
MALLORY = Key("somebody else's key")
DEVICE = Key("device key").kid
OTHER_DEVICE = Key("another device key").kid

JWKS = {"jwks": jwks(KEY)}
BY_ROOT = {"root": ROOT.jwk()}

SIGNED = NOW - DAY
ISSUED = SIGNED - 60
EXP = NOW + 29 * DAY
EXPIRES = NOW + 180 * DAY
FEATURES = ["export", "sso"]
LIMITS = {"seats": 5, "projects": 100}
CUSTOMER = "cust_1"
LICENSE = "lic_1"


def claims(**changes):
    """Returns the claims of the usual license, which is active at NOW until EXP."""
    usual = {
        "iss": ISSUER, "sub": CUSTOMER, "aud": AUDIENCE, "iat": ISSUED, "nbf": ISSUED, "exp": EXP,
        "jti": LICENSE, "plan": "professional", "trial": False, "features": FEATURES,
        "limits": LIMITS, "license_expires": EXPIRES, "grace_until": None, "seq": 7, "ver": 1,
    }
    return {**usual, **changes}


def license_(changes=None, key=KEY, header=None):
    """Returns the token of the usual license, with changed claims or header."""
    return document("license+jwt", claims(**(changes or {})), key, header)


def bundle_key(key, **changes):
    """Returns the entry of a key in a bundle."""
    return {**key.jwk(), "nbf": NOW - 365 * DAY, "exp": None, **changes}


def bundle(*keys, signed_by=ROOT, header=None, **changes):
    """Returns a key bundle with these entries; with KEY alone if there are none."""
    entries = [bundle_key(key) if isinstance(key, Key) else key for key in keys or (KEY,)]
    usual = {"iss": ISSUER, "iat": NOW - 2 * DAY, "exp": None, "seq": 3, "keys": entries,
             "revoked": []}
    return document("license-keys+jwt", {**usual, **changes}, signed_by, header)


def bits(indexes, size=1024):
    """Returns the bytes of a list of `size` bits, in which these are set."""
    data = bytearray(size // 8)
    for index in indexes:
        data[index // 8] |= 1 << index % 8
    return bytes(data)


def packed(data):
    """Returns `lst` for these bytes."""
    return encode(deflate.compress(data))


def status_list(indexes=(), *, lst=None, size=1024, key=KEY, header=None, members=None, **changes):
    """Returns a status list in which these indexes are revoked."""
    lst = packed(bits(indexes, size)) if lst is None else lst
    usual = {"sub": LIST_URI, "iat": NOW - 3600, "exp": NOW + 7 * DAY, "ttl": 43_200,
             "status_list": {"bits": 1, "lst": lst, **(members or {})}}
    return document("statuslist+jwt", {**usual, **changes}, key, header)


def listed(index=42, uri=LIST_URI, **changes):
    """Returns the claims that name an index of a list."""
    return {"status": {"status_list": {"idx": index, "uri": uri}}, **changes}


def memory(**changes):
    """Returns the members of a memory; empty unless changed."""
    return {"v": 1, "time": 0, "signed": 0, "keys_seq": 0, "seq": {}, "lists": {}, **changes}


# Verdicts. They are stated, not computed: `changes_at` is that of the usual license unless given.

FACTS = {"plan": "professional", "trial": False, "customer_id": CUSTOMER, "license_id": LICENSE,
         "updates_until": None}


def active(**changes):
    """Returns the verdict of the usual license."""
    return {"valid": True, "state": "active", "code": None, "features": FEATURES,
            "limits": LIMITS, **FACTS, "warn": False, "changes_at": EXP, **changes}


def grace(**changes):
    """Returns the verdict in the grace period."""
    return active(**{"state": "grace", "code": "license_expired", "warn": True, **changes})


def over(state, code, **changes):
    """Returns the verdict of a license that is over, but still valid."""
    return active(**{"state": state, "code": code, "warn": True, "changes_at": None, **changes})


def refused(code, **changes):
    """Returns an invalid verdict about a license whose signature and claims hold."""
    return active(**{"valid": False, "state": None, "code": code, "features": [], "limits": {},
                     "changes_at": None, **changes})


def unread(code, **changes):
    """Returns an invalid verdict about a text whose claims are not known."""
    unknown = {name: None for name in FACTS}
    return refused(code, **{**unknown, **changes})


class Book:
    """The cases of one file."""

    def __init__(self, subject):
        self.subject = subject
        self.cases = []

    def case(self, name, why, *, license=DROP, expect=None, remember=None, trust=JWKS,
             audience=AUDIENCE, now=NOW, **inputs):
        """Adds a case. `remember` is the expected memory."""
        case = {"name": name, "why": why, "trust": trust, "audience": audience}
        case["license"] = license_() if license is DROP else license
        case.update(as_texts(inputs))
        case["now"] = now
        case["expect"] = expectation(expect or active(), remember)
        self.cases.append(case)

    def sequence(self, name, why, steps, *, license=DROP, trust=JWKS, audience=AUDIENCE, now=NOW,
                 **shared):
        """Adds a sequence with memory. Its steps come from `step`."""
        case = {"name": name, "why": why, "trust": trust, "audience": audience}
        case["license"] = license_() if license is DROP else license
        case.update(as_texts(shared))
        case["now"] = now
        case["steps"] = steps
        self.cases.append(case)

    def text(self):
        """Returns the file: each member of a case on a line of its own."""
        return "[\n" + ",\n".join(lines(case, 2) for case in self.cases) + "\n]\n"


def step(expect, why=None, remember=None, **inputs):
    """Returns a step of a sequence."""
    start = {} if why is None else {"why": why}
    return {**start, **as_texts(inputs), "expect": expectation(expect, remember)}


def expectation(expect, remember):
    """Returns the expected verdict, and memory if it matters."""
    return expect if remember is None else {**expect, "memory": remember}


def as_texts(inputs):
    """Returns the inputs, with memory as a text."""
    return {name: dumps(value) if name == "memory" and isinstance(value, dict) else value
            for name, value in inputs.items()}


def lines(case, indent):
    """Returns an object with one member a line; steps in the same form."""
    outer, inner = " " * indent, " " * (indent + 2)
    members = []
    for name, value in case.items():
        if name == "steps":
            steps = ",\n".join(lines(step, indent + 4) for step in value)
            members.append(f'{inner}"steps": [\n{steps}\n{inner}]')
        else:
            members.append(f"{inner}{json.dumps(name)}: {json.dumps(value)}")
    return f"{outer}{{\n" + ",\n".join(members) + f"\n{outer}}}"
