#!/usr/bin/env python3
"""Writes cases that are altered at random, as JSON lines without verdicts.

    python3 mutate.py NUMBER [SEED] > cases.jsonl

`compare.py` sends them through several verifiers. The same number and seed give the same bytes.
Most documents are signed again after they are altered, so that more than the signature is tested.
"""

import base64
import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from generator import base  # noqa: E402
from generator.jose import Members, Raw, dumps, encode, sign_parts  # noqa: E402

KEYS = {key.kid: key for key in (base.KEY, base.KEY2, base.KEY3, base.ROOT, base.MALLORY)}
TEXTS = ["license", "keys", "status", "memory"]
LONGEST = 12_000
LAST = 253_402_300_799
DELTAS = [0, 0, 1, -1, 59, 60, 61, -59, -60, -61, 3599, 3600, 3601, -3600, -3601, 86_399, 86_400,
          86_401, -86_400, -86_401, 10**6, -10**6, 10**8, -10**8]
NUMBERS = ["0", "1", "2", "-1", "-0", "1.0", "1E3", "1e0", "0.0", "42", "41", "1023", "1024",
           "9007199254740991", "9007199254740992", "18446744073709551617", "253402300799",
           "253402300800", "1e999", "00", "1.", "1e-5", "4294967338"]
LETTERS = list("\"'`“”„‘’«» \t\r\n\u00a0\u200b\ufeff\u2028.=+/-_{}[]:,\\*é😀\0Aa0")
VALUES = [None, True, False, "", "x", [], {}, [1], ["x"], {"x": 1}, Raw('"\\ud800"'),
          Raw("[" * 63 + "]" * 63), Raw("[" * 64 + "]" * 64), Raw('{"a":1,"a":2}'), Raw("NaN"),
          {"mode": "warn"}, {"mode": "limited", "features": ["a"]}, {"mode": "stop"},
          {"jkt": base.DEVICE}, {"status_list": {"idx": 42, "uri": base.LIST_URI}}, "EdDSA",
          "Ed25519", "none", "license+jwt", "statuslist+jwt", "license-keys+jwt", base.AUDIENCE,
          base.CUSTOMER, base.LIST_URI, base.KEY.kid, base.KEY2.kid, base.ROOT.kid]
NAMES = ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "plan", "trial", "features", "limits",
         "license_expires", "grace_until", "seq", "ver", "updates_until", "on_end", "warn_days",
         "status", "cnf", "status_list", "bits", "lst", "idx", "uri", "mode", "keys", "revoked",
         "typ", "alg", "kid", "crit", "jkt", "ttl", "x", "__proto__", "time", "signed",
         "keys_seq", "lists", "v"]


def bases():
    """Returns the cases of each file of vectors, with each step as a case."""
    files = []
    for path in sorted(HERE.glob("*.json")):
        result = []
        for case in json.loads(path.read_text(encoding="utf-8")):
            outer = {name: value for name, value in case.items() if name != "steps"}
            for step in case.get("steps", [{}]):
                merged = {**outer, **step}
                for name in ("name", "why", "expect"):
                    merged.pop(name, None)
                if len(json.dumps(merged)) < LONGEST:
                    result.append(merged)
        files.append(result)
    return files


class Mutator:
    """Alters cases with one source of chance."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.bases = bases()

    def chance(self, part):
        """Returns true in this part of all calls."""
        return self.random.random() < part

    def case(self):
        """Returns a case, or sometimes a sequence."""
        if self.chance(0.1):
            case = self.one()
            steps = [self.one() for _ in range(self.random.randint(2, 4))]
            shared = {"trust", "audience"} if self.chance(0.8) else set()
            case["steps"] = [{name: value for name, value in step.items()
                              if name not in shared and (name != "memory" or self.chance(0.2))}
                             for step in steps]
            return case
        return self.one()

    def vector(self):
        """Returns a case of the vectors: each subject as often as any other."""
        return self.random.choice(self.random.choice(self.bases))

    def one(self):
        """Returns an altered case, or one with valid documents whose times are random."""
        if self.chance(0.25):
            return self.fresh()
        case = dict(self.vector())
        for _ in range(self.random.choice([1, 1, 1, 2, 2, 3])):
            self.alter(case)
        return case

    def fresh(self):
        """Returns a case in which every document verifies, and everything else is random."""
        choice, time = self.random.choice, lambda: self.time({"now": base.NOW})
        key = choice([base.KEY, base.KEY, base.KEY2])
        expires = choice([None, time(), base.EXPIRES])
        changes = {
            "iat": choice([base.ISSUED] * 4 + [time()]), "nbf": choice([0, base.ISSUED]),
            "exp": choice([base.EXP, time()]), "license_expires": expires,
            "grace_until": None if expires is None else choice([None, expires + 86_400, time()]),
            "sub": choice(["cust_1", "cust_1", "cust_2"]), "seq": self.random.randint(0, 9)}
        optional = {
            "updates_until": time(), "warn_days": choice([0, 1, 30, 400, 2**53 - 1]),
            "on_end": {"mode": choice(["stop", "limited", "warn"]), "features": ["open"]},
            "status": {"status_list": {"idx": choice([3, 42, 900, 5000]), "uri": base.LIST_URI}},
            "cnf": {"jkt": base.DEVICE}}
        changes.update((name, value) for name, value in optional.items() if self.chance(0.4))
        case = {"trust": base.JWKS, "audience": base.AUDIENCE,
                "license": base.license_(changes, key=key), "now": time()}
        if self.chance(0.6) or key is base.KEY2:
            case["trust"] = base.BY_ROOT
            self.parameters(case, ["keys"])
        self.parameters(case, [name for name in ("status", "memory", "max_status_age", "build",
                                                 "device") if self.chance(0.5)])
        if self.chance(0.3):
            case["license"] = dumps({"license": case["license"], **{
                name: case.pop(name) for name in ("keys", "status") if name in case}})
            self.parameters(case, [name for name in ("keys", "status") if self.chance(0.3)])
        return case

    def alter(self, case):
        """Alters one thing of a case."""
        kind = self.random.random()
        if kind < 0.45:
            name = self.random.choice([name for name in TEXTS if case.get(name)] or ["license"])
            case[name] = self.document(case.get(name) or "")
        elif kind < 0.5:
            name = self.random.choice([name for name in TEXTS if case.get(name)] or ["license"])
            case[name] = self.text(case.get(name) or "")
        elif kind < 0.6:
            name = self.random.choice(TEXTS)
            other = self.vector().get(name)
            if other is not None:
                case[name] = other
        elif kind < 0.77:
            case["now"] = self.clock(case)
        else:
            self.parameter(case)

    def parameter(self, case):
        """Alters or removes a parameter of the app."""
        name = self.random.choice(["max_status_age", "build", "device", "issuer", "audience",
                                   "trust", "memory", "status", "keys"])
        if name not in ("trust", "audience") and self.chance(0.2):
            case.pop(name, None)
        else:
            self.parameters(case, [name])

    def parameters(self, case, names):
        """Gives new values to parameters of the app."""
        for name in names:
            case[name] = self.parameter_value(case, name)

    def parameter_value(self, case, name):
        """Returns a value for a parameter of the app."""
        choice = self.random.choice
        if name == "trust":
            return self.trust(self.vector()["trust"])
        if name == "audience":
            return choice([base.AUDIENCE, base.AUDIENCE, "other", "ACME-APP"])
        if name == "max_status_age":
            return choice([-1, 0, 1, 3600, 86_400, 86_401, 10**9, 2**53 - 1])
        if name == "build":
            return self.time(case)
        if name == "device":
            return choice([base.DEVICE, base.DEVICE, base.OTHER_DEVICE, "", "x"])
        if name == "issuer":
            return choice([base.ISSUER, base.ISSUER, "https://b.example"])
        if name == "memory":
            iat = self.time(case)
            return dumps(base.memory(
                time=self.time(case), signed=choice([0, self.time(case)]),
                keys_seq=choice([0, 0, 3, 4]), seq={"cust_1": self.random.randint(0, 9)},
                lists={base.LIST_URI: {"iat": iat, "revoked": choice([[], [42], [3, 42, 5000]])}}))
        if name == "status":
            return base.status_list(choice([[], [42], [3]]), iat=self.time(case))
        return base.bundle(
            base.bundle_key(base.KEY, nbf=choice([0, 0, 0, self.time(case)]),
                            exp=choice([None, None, None, self.time(case)])),
            base.KEY2, seq=choice([1, 3, 9]), exp=choice([None, None, None, self.time(case)]),
            iat=self.time(case), revoked=choice([[], [], [], [], [base.KEY.kid], [base.KEY2.kid]]))

    def trust(self, trust):
        """Returns another trust, with a key altered now and then."""
        trust = json.loads(json.dumps(trust))
        if self.chance(0.3):
            jwk = trust.get("root") or self.random.choice(trust["jwks"]["keys"])
            if isinstance(jwk, dict):
                name = self.random.choice(["kty", "crv", "alg", "use", "kid", "x", "d"])
                if self.chance(0.5):
                    jwk.pop(name, None)
                else:
                    jwk[name] = self.random.choice(["OKP", "Ed25519", "EdDSA", "sig", "x",
                                                    base.KEY.x, base.KEY.kid, "A" * 43, None])
        return trust

    def time(self, case):
        """Returns a time near one that plays a part, from 1970 to 9999."""
        times = [base.NOW, base.ISSUED, base.EXP, base.EXPIRES, case.get("now", 0), 0, LAST]
        time = self.random.choice(times) + self.random.choice(DELTAS)
        return min(max(time, 0), LAST)

    def clock(self, case):
        """Returns a time for a device, which may also be before 1970 or after 9999."""
        if self.chance(0.05):
            return self.random.choice([-1, -10**9, LAST + 1, LAST + 10**6, 2**53 - 1])
        return self.time(case)

    def text(self, text):
        """Returns a text with some characters altered."""
        for _ in range(self.random.choice([1, 1, 2, 3])):
            start = self.random.randint(0, len(text))
            end = min(len(text), start + self.random.choice([0, 1, 1, 2, 4, 40]))
            choice = self.random.random()
            if choice < 0.3:
                text = text[:start] + self.random.choice(LETTERS) + text[end:]
            elif choice < 0.5:
                text = text[:start] + self.random.choice(LETTERS) + text[start:]
            elif choice < 0.6:
                text = text[:start] + text[end:]
            elif choice < 0.7:
                text = text[:start] + text[start:end] * 2 + text[end:]
            elif choice < 0.8:
                first, last = self.random.choice(LETTERS), self.random.choice(LETTERS)
                text = first + text + last
            elif choice < 0.9:
                text = self.random.choice(["\n", "\r\n  ", " \r", "\n\u200b"]).join(
                    text[i:i + 60] for i in range(0, len(text), 60))
            else:
                text = text[:start]
        return text

    def document(self, text):
        """Returns a document with its header or claims altered, signed again if possible."""
        if text.lstrip("\ufeff \n").startswith("{"):
            return self.json(text)
        parts = text.split(".")
        if len(parts) != 3:
            return self.text(text)
        try:
            header, claims = (self.decoded(part) for part in parts[:2])
        except ValueError:
            return self.text(text)
        key = self.signer(header)
        if self.chance(0.25):
            header = self.json(header)
            key = self.signer(header, key)
        else:
            claims = self.json(claims)
        if self.chance(0.05):
            key = self.random.choice(list(KEYS.values()))
        return sign_parts(encode(header), encode(claims), key)

    @staticmethod
    def decoded(part):
        """Returns the text of a part."""
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8")

    @staticmethod
    def signer(header, otherwise=base.KEY):
        """Returns the key that a header names, if it is a test key."""
        try:
            kid = json.loads(header).get("kid")
        except (ValueError, AttributeError, RecursionError):
            return otherwise
        return KEYS.get(kid, otherwise) if isinstance(kid, str) else otherwise

    def json(self, text):
        """Returns a text of JSON with a value or member altered, or else some characters."""
        if self.chance(0.1):
            return self.text(text)
        try:
            value = json.loads(text, object_pairs_hook=Members, parse_int=Raw, parse_float=Raw,
                               parse_constant=Raw)
        except (ValueError, RecursionError):
            return self.text(text)
        changed = dumps(self.value(value))
        try:
            changed.encode("utf-8")
        except UnicodeEncodeError:
            return text
        return changed

    def value(self, value):
        """Returns a value of JSON with something in it altered."""
        if isinstance(value, Members):
            return self.members(value)
        if isinstance(value, list) and value and self.chance(0.8):
            value = list(value)
            index = self.random.randrange(len(value))
            if self.chance(0.2):
                value.insert(index, self.any(value[index]))
            else:
                value[index] = self.value(value[index])
            return value
        return self.any(value)

    def members(self, members):
        """Returns an object with a member altered, removed, repeated, renamed or added."""
        members = Members(members)
        if not members or self.chance(0.15):
            members.insert(self.random.randint(0, len(members)),
                           (self.random.choice(NAMES), self.any(None)))
            return members
        index = self.random.randrange(len(members))
        name, value = members[index]
        choice = self.random.random()
        if choice < 0.75:
            members[index] = (name, self.value(value))
        elif choice < 0.85:
            del members[index]
        elif choice < 0.9:
            members.append((name, value))
        elif choice < 0.95:
            members[index] = (self.random.choice(NAMES), value)
        else:
            self.random.shuffle(members)
        return members

    def any(self, value):
        """Returns another value, often of the same kind."""
        if isinstance(value, Raw) and self.chance(0.7):
            number = int(value) if value.isdigit() and len(value) < 17 else base.NOW
            return Raw(self.random.choice([
                str(max(0, number + self.random.choice(DELTAS))), value + ".0", value + "e0",
                "-" + value, str(self.time({"now": base.NOW})),
                str(self.time({"now": base.NOW}))]))
        if isinstance(value, str) and not isinstance(value, Raw) and self.chance(0.4):
            return self.random.choice([value.upper(), value + "x", value[:-1], value + " "])
        if self.chance(0.4):
            return Raw(self.random.choice(NUMBERS))
        return self.random.choice(VALUES)


def main():
    """Prints the cases."""
    number = int(sys.argv[1])
    mutator = Mutator(int(sys.argv[2]) if len(sys.argv) > 2 else 15)
    for _ in range(number):
        print(json.dumps(mutator.case()))


if __name__ == "__main__":
    main()
