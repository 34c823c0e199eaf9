"""The worked examples of docs/license-format.md."""

from .base import (BY_ROOT, CUSTOMER, DAY, EXP, ISSUED, KEY, KEY2, LIST_URI, NOW, Book, active,
                   bundle, bundle_key, license_, listed, memory, over, refused, status_list)
from .jose import dumps

LIMITED = {"mode": "limited", "features": ["open"], "limits": {"projects": 1}}


def books():
    book = Book("examples")
    book.case("1 a license and a JWKS", "The quick way: the app is built with the JWKS.")
    on_end = license_({"on_end": LIMITED, "warn_days": 7})
    book.case("2 a week before the token's end", "The app warns.", license=on_end,
              now=EXP - 7 * DAY, expect=active(warn=True))
    book.case("3 the token has run out", "The promise of on_end holds.", license=on_end, now=EXP,
              expect=over("limited", "token_expired", features=["open"], limits={"projects": 1}))
    file = dumps({"license": license_(listed(), key=KEY2), "keys": bundle(
        bundle_key(KEY, exp=ISSUED - DAY), bundle_key(KEY2, nbf=ISSUED - 9 * DAY)),
        "status": status_list([42], key=KEY2)})
    book.case("4 a license.json with a new key and a revoked license",
              "An app that knows only the root learns both from a file.", trust=BY_ROOT,
              license=file, expect=refused("revoked"), remember=memory(
                  time=NOW, signed=NOW - 3600, keys_seq=3, seq={CUSTOMER: 7},
                  lists={LIST_URI: {"iat": NOW - 3600, "revoked": [42]}}))
    book.case("5 the list is taken away", "Memory still knows.", trust=BY_ROOT,
              license=license_(listed(), key=KEY2), keys=bundle(
                  bundle_key(KEY, exp=ISSUED - DAY), bundle_key(KEY2, nbf=ISSUED - 9 * DAY)),
              memory=memory(time=NOW, signed=NOW - 3600, keys_seq=3, seq={CUSTOMER: 7},
                            lists={LIST_URI: {"iat": NOW - 3600, "revoked": [42]}}),
              now=NOW + DAY, expect=refused("revoked"))
    book.case("6 a clock that was set back", "Memory knows a later time.", now=NOW,
              memory=memory(time=NOW + 3 * DAY, signed=ISSUED, seq={CUSTOMER: 7}),
              expect=refused("clock_rolled_back", changes_at=NOW + 3 * DAY - 3600))
    return [book]
