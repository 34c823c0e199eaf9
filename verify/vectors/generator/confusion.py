"""Texts in the wrong place: one kind of document where another is expected."""

from .base import (BY_ROOT, CUSTOMER, KEY, LIST_URI, NOW, ROOT, Book, active, bits, bundle,
                   bundle_key, claims, license_, listed, memory, packed, refused, status_list,
                   unread)
from .jose import DROP, document, dumps, jwks


def books():
    book = Book("confusion")
    both = {"jwks": jwks(KEY, ROOT)}

    def bad(name, why, text, code, **inputs):
        book.case(name, why, license=text, expect=unread(code), **inputs)

    bad("a bundle as the license", "Its typ is another.", bundle(), "wrong_type", trust=BY_ROOT,
        keys=bundle())
    bad("a bundle as the license, root in the JWKS", "Its typ is another.", bundle(),
        "wrong_type", trust=both)
    bad("a list as the license", "Its typ is another.", status_list(), "wrong_type")
    bad("a list with claims of a license", "Its typ is another.",
        document("statuslist+jwt", {**claims(), "sub": LIST_URI}, KEY), "wrong_type")
    bad("a bundle with claims of a license", "Its typ is another.",
        document("license-keys+jwt", claims(), ROOT), "wrong_type", trust=both)
    bad("a bundle's claims as a license", "They are not those of a license.",
        document("license+jwt", {"iss": "x", "iat": 1, "exp": None, "seq": 1, "keys": [],
                                 "revoked": []}, KEY), "invalid_claims")
    bad("an ID token of the same key", "Its typ is another.",
        document("JWT", claims(), KEY), "wrong_type")
    bad("an access token of the same key", "Its typ is another.",
        document("at+jwt", claims(), KEY), "wrong_type")
    bad("a token without typ", "Explicit types keep documents apart (RFC 8725, 3.11).",
        license_(header={"typ": DROP}), "wrong_type")
    bad("a session token", "It is opaque.", "ses_3f7Jk29dLq8sW1", "malformed")
    bad("an admin key", "It is opaque.", "adm_" + "A" * 43, "malformed")
    bad("a JWKS as the license", "It is JSON without a license.", dumps(jwks(KEY)), "malformed")
    bad("the JWK as the license", "It is JSON without a license.", dumps(KEY.jwk()), "malformed")
    bad("memory as the license", "It is JSON without a license.", dumps(memory()), "malformed")
    bad("the thumbprint as the license", "It is one part.", KEY.kid, "malformed")
    bad("an encrypted token", "RFC 7516: five parts.", ".".join(["eyJhbGciOiJkaXIifQ"] * 5),
        "malformed")
    bad("PEM", "It is no token.", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n"
        "-----END PUBLIC KEY-----\n", "malformed")

    bad("a license as the bundle", "It is no bundle.", license_(), "unknown_key", trust=BY_ROOT,
        keys=license_(), remember=memory())
    bad("a list as the bundle", "It is no bundle.", license_(), "unknown_key", trust=BY_ROOT,
        keys=status_list())
    bad("a license by the root as the bundle", "Its typ is another.", license_(), "unknown_key",
        trust=BY_ROOT, keys=document("license+jwt", root_claims(), ROOT))
    bad("a list by the root as the bundle", "Its typ is another.", license_(), "unknown_key",
        trust=BY_ROOT, keys=document("statuslist+jwt", root_claims(), ROOT))
    bad("the bundle and the license exchanged", "Each has its typ.", bundle(), "wrong_type",
        trust=BY_ROOT, keys=license_())

    named = license_(listed())
    for name, text in [
            ("a license", named), ("a bundle", bundle()),
            ("a license with a list", document("license+jwt", list_claims(), KEY)),
            ("a bundle with a list", document("license-keys+jwt", list_claims(), KEY)),
            ("a token without typ with a list", document(DROP, list_claims(), KEY))]:
        book.case(f"{name} as the list", "It is no list, so it counts as not given.",
                  license=named, status=text)
    book.case("the same with the right typ", "It is a list.", license=named,
              status=document("statuslist+jwt", list_claims(), KEY), expect=refused("revoked"))
    book.case("a list and a bundle exchanged", "Neither counts.", trust=BY_ROOT, license=named,
              keys=status_list(), status=bundle(), expect=unread("unknown_key"))
    book.case("a list that is also a license", "Each document has one typ.",
              license=license_({**listed(), **list_claims(), "sub": LIST_URI, "iat": NOW - 60}),
              status=license_({**listed(), **list_claims(), "sub": LIST_URI}),
              expect=active(customer_id=LIST_URI))
    book.case("the license of another customer's device", "A list or license tells nothing of who "
              "gives it: bind licenses to devices for that.", license=license_({"sub": "cust_2"}),
              expect=active(customer_id="cust_2"), memory=memory(seq={CUSTOMER: 9}))
    return [book]


def root_claims():
    """Returns the claims of the usual bundle."""
    return {"iss": "https://acme.example", "iat": NOW - 60, "exp": None, "seq": 3,
            "keys": [bundle_key(KEY)], "revoked": []}


def list_claims():
    """Returns the claims of a list in which index 42 is revoked, without those of others."""
    return {"sub": LIST_URI, "iat": NOW - 60,
            "status_list": {"bits": 1, "lst": packed(bits([42]))}}
