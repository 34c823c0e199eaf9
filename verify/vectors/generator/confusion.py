"""Texts in the wrong place: one kind of document where another is expected."""

from . import deflate
from .base import (BY_ROOT, CUSTOMER, KEY, LIST_URI, NOW, ROOT, Book, active, bits, bundle,
                   bundle_key, claims, license_, listed, memory, packed, refused, status_list,
                   unread)
from .jose import DROP, document, dumps, encode, jwks, sign_text


def books():
    return [kinds(), rfc8725bis()]


def kinds():
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
    return book


def rfc8725bis():
    """The attacks that RFC 8725bis adds to RFC 8725, in the order of its appendix A."""
    book = Book("rfc8725bis")

    def bad(name, why, text, code, **inputs):
        book.case(name, why, license=text, expect=unread(code), **inputs)

    token = license_()
    head, body, signature = token.split(".")
    for alg in ("NonE", "noNE", "EDDSA", "edDSA", "hs256"):
        bad(f"1 alg {alg}", "alg has one case: no list of refused names is compared.",
            license_(header={"alg": alg}), "unsupported_algorithm")
    for name, header in [
            ("ECDH-ES to the signing key", {"alg": "ECDH-ES", "enc": "A256GCM",
                                            "epk": {"kty": "OKP", "crv": "X25519", "x": KEY.x}}),
            ("dir with the public key", {"alg": "dir", "enc": "A128CBC-HS256"}),
            ("EdDSA with enc", {"alg": "EdDSA", "enc": "A256GCM"})]:
        header = encode(dumps({**header, "typ": "license+jwt", "kid": KEY.kid}))
        bad(f"2 encrypted, {name}", "What can be decrypted is not signed. It has five parts.",
            f"{header}..AAAA.{body}.AAAA", "malformed")
        bad(f"2 encrypted, {name}, three parts", "What can be decrypted is not signed.",
            f"{header}.{body}.{signature}",
            "bad_signature" if "EdDSA" in name else "unsupported_algorithm")
    for count in (600_000, 2**31 - 1, 2**53):
        header = encode(dumps({"alg": "PBES2-HS256+A128KW", "p2c": count, "p2s": "AAAA",
                               "enc": "A128GCM", "typ": "license+jwt", "kid": KEY.kid}))
        bad(f"3 p2c {count}", "No password is hashed.", f"{header}.{body}.{signature}",
            "unsupported_algorithm")
        bad(f"3 p2c {count}, five parts", "No password is hashed.",
            f"{header}.AAAA.AAAA.{body}.AAAA", "malformed")
    bad("4 a flattened JWS around a compact one", "A text in two formats at once.",
        '{"payload":"' + body + '","protected":"' + head + '","signature":"' + signature
        + '","x":".' + token + '."}', "malformed")
    bad("4 a compact JWS with JSON in its first part", "Braces are not in the alphabet.",
        '"{"protected":"' + head + '"}".' + body + "." + signature, "malformed")
    bad("4 a compact JWS with braces around it", "Braces are not in the alphabet.",
        "{" + token + "}", "malformed")
    bad("4 a JSON text with a compact JWS, within a text", "Only a text in quotes is cleaned.",
        '["' + token + '"]', "malformed")
    zipped = deflate.pack(deflate.fixed(dumps(claims()).encode()))
    header = {"alg": "EdDSA", "typ": "license+jwt", "kid": KEY.kid, "zip": "DEF"}
    bad("5 compressed claims", "Nothing is inflated in a license, so the claims are no JSON.",
        sign_text(dumps(header), zipped, KEY), "malformed")
    bad("5 a bomb of 512 KiB as claims", "Nothing is inflated in a license.",
        sign_text(dumps(header), deflate.compress(bytes(2**19)), KEY), "malformed")
    for typ in ("JWT", "secevent+jwt", "logout+jwt", "application/jwt", "example/license+jwt"):
        bad(f"6 typ {typ}", "Other kinds of JWT are not licenses.",
            license_(header={"typ": typ}), "wrong_type")
    for name, header in [("jku that resolves to loopback", {"jku": "http://localtest.me/jwks"}),
                         ("x5u with user information", {"x5u": "https://a.example@evil.example"}),
                         ("kid a URL", {"kid": "http://127.0.0.1/key"}),
                         ("kid a path", {"kid": "/etc/passwd"}),
                         ("kid SQL", {"kid": "' OR '1'='1"}),
                         ("kid LDAP", {"kid": "*)(uid=*))(|(uid=*"})]:
        fetches = "kid" not in header
        book.case(f"7 {name}", "A verifier makes no request.",
                  license=license_(header=header),
                  expect=active() if fetches else unread("unknown_key"))
    bad("8 none without a signature", "none is never accepted.",
        encode(dumps({"alg": "none", "typ": "license+jwt", "kid": KEY.kid})) + f".{body}.",
        "unsupported_algorithm")
    bad("8 RS256", "PKCS #1 1.5 is never accepted.", license_(header={"alg": "RS256"}),
        "unsupported_algorithm")
    return book


def root_claims():
    """Returns the claims of the usual bundle."""
    return {"iss": "https://acme.example", "iat": NOW - 60, "exp": None, "seq": 3,
            "keys": [bundle_key(KEY)], "revoked": []}


def list_claims():
    """Returns the claims of a list in which index 42 is revoked, without those of others."""
    return {"sub": LIST_URI, "iat": NOW - 60,
            "status_list": {"bits": 1, "lst": packed(bits([42]))}}
