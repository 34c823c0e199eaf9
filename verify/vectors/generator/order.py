"""The order of the rules: a license that breaks all of them, which are mended one by one."""

from .base import (BY_ROOT, DAY, DEVICE, EXP, ISSUER, KEY, KEY2, MALLORY, NOW, Book, active,
                   bundle, bundle_key, claims, grace, listed, memory, over, refused, status_list,
                   unread)
from .jose import DROP, dumps, sign_text

BUILT = NOW - 5


def books():
    return [mended("order", {}), mended("order-limited", {"on_end": {
        "mode": "limited", "features": ["open"], "limits": {"projects": 1}}})]


def mended(subject, on_end):
    """Returns a book in which each case mends the rule that failed in the case before."""
    book = Book(subject)
    state = {
        "header": {"typ": "JWT", "crit": [], "alg": "none", "kid": DROP}, "signer": MALLORY,
        "claims": claims(**on_end, **listed(), trial=0, ver=2, aud="other", cnf={"jkt": DEVICE},
                         iss="https://b.example", nbf=NOW + DAY, updates_until=BUILT - 1,
                         license_expires=NOW - 10, exp=NOW - 20),
        "member": '"x":1,"x":1,', "tail": "*" * 9000, "keys": bundle(revoked=[KEY2.kid]),
        "inputs": {"issuer": ISSUER, "max_status_age": 60, "build": BUILT,
                   "memory": memory(time=NOW + DAY + 3600),
                   "status": status_list([42], key=KEY, iat=NOW - 3600)},
    }
    retired = bundle(KEY, bundle_key(KEY2, exp=1))
    early = {"changes_at": NOW + DAY - 60}
    rules = [
        ("too_large", unread, {}, lambda: state.update(tail="*")),
        ("malformed", unread, {}, lambda: state.update(tail="")),
        ("wrong_type", unread, {}, lambda: state["header"].update(typ="license+jwt")),
        ("critical_header", unread, {}, lambda: state["header"].update(crit=DROP)),
        ("unsupported_algorithm", unread, {}, lambda: state["header"].update(alg="EdDSA")),
        ("malformed", unread, {}, lambda: state["header"].update(kid=KEY2.kid)),
        ("key_revoked", unread, {}, lambda: state.update(keys=bundle())),
        ("unknown_key", unread, {}, lambda: state.update(keys=retired)),
        ("bad_signature", unread, {}, lambda: state.update(signer=KEY2)),
        ("malformed", unread, {}, lambda: state.update(member="")),
        ("unsupported_version", unread, {}, lambda: state["claims"].update(ver=1)),
        ("invalid_claims", unread, {}, lambda: state["claims"].update(trial=False)),
        ("key_not_valid", refused, {}, lambda: state.update(keys=bundle(KEY, KEY2))),
        ("wrong_audience", refused, {}, lambda: state["claims"].update(aud="acme-app")),
        ("wrong_issuer", refused, {}, lambda: state["claims"].update(iss=ISSUER)),
        ("not_yet_valid", refused, early, lambda: state["claims"].update(nbf=0)),
        ("clock_rolled_back", refused, {}, lambda: state["inputs"].pop("memory")),
        ("revoked", refused, {}, lambda: state["inputs"].update(
            status=status_list(key=KEY, iat=NOW - 3600))),
        ("stale_status", refused, {}, lambda: state["inputs"].pop("max_status_age")),
        ("wrong_device", refused, {}, lambda: state["inputs"].update(device=DEVICE)),
        ("update_not_covered", refused, {}, lambda: state["claims"].update(updates_until=BUILT)),
        ("license_expired", ended(on_end), {}, lambda: state["claims"].update(
            grace_until=NOW + DAY)),
        ("token_expired", ended(on_end), {}, lambda: state["claims"].update(exp=EXP)),
    ]
    for number, (code, verdict, changes, mend) in enumerate(rules, 1):
        if verdict is not unread:
            changes = {"updates_until": state["claims"]["updates_until"], **changes}
        add(book, state, f"rule {number}, {code}", verdict(code, **changes))
        mend()
    add(book, state, "no rule, in grace", grace(updates_until=BUILT, changes_at=NOW + DAY))
    state["claims"].update(license_expires=None, grace_until=None)
    add(book, state, "no rule, active", active(updates_until=BUILT))
    return book


def ended(on_end):
    """Returns the verdict for the two last rules."""
    if not on_end:
        return refused
    return lambda code, **changes: over(
        "limited", code, features=["open"], limits={"projects": 1}, **changes)


def add(book, state, name, expect):
    """Adds the case of a state."""
    header = {"alg": "EdDSA", "typ": "license+jwt", "kid": KEY2.kid, **state["header"]}
    text = "{" + state["member"] + dumps(state["claims"])[1:]
    token = sign_text(dumps(header), text, state["signer"]) + state["tail"]
    book.case(name, "The rules before are mended; this one and those after it fail.",
              trust=BY_ROOT, license=token, keys=state["keys"], expect=expect, **state["inputs"])
