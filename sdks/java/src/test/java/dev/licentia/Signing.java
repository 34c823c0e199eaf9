package dev.licentia;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Signature;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.Deflater;

/** Signs licenses, bundles and status lists for the tests. */
final class Signing {
    static final long NOW = 1_796_000_000;
    static final long DAY = 86_400;

    private final KeyPair pair;
    final String x;
    final String kid;

    Signing() {
        try {
            pair = KeyPairGenerator.getInstance("Ed25519").generateKeyPair();
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
        byte[] encoded = pair.getPublic().getEncoded();
        x = Text.encodeBase64url(Arrays.copyOfRange(encoded, encoded.length - 32, encoded.length));
        kid = Key.thumbprint(x);
    }

    Map<String, Object> jwk() {
        return object(
                "kty", "OKP", "crv", "Ed25519", "alg", "EdDSA", "use", "sig", "kid", kid, "x", x);
    }

    String root() {
        return Json.write(jwk());
    }

    String jwks() {
        return Json.write(object("keys", List.of(jwk())));
    }

    String sign(String typ, Map<String, Object> claims) {
        String header = Json.write(object("alg", "EdDSA", "typ", typ, "kid", kid));
        String signed = encode(header) + "." + encode(Json.write(claims));
        try {
            Signature signature = Signature.getInstance("Ed25519");
            signature.initSign(pair.getPrivate());
            signature.update(signed.getBytes(StandardCharsets.US_ASCII));
            return signed + "." + Text.encodeBase64url(signature.sign());
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    private static String encode(String json) {
        return Text.encodeBase64url(json.getBytes(StandardCharsets.UTF_8));
    }

    /** Returns a license; {@code changed} are names and values that replace or add claims. */
    String license(Object... changed) {
        Map<String, Object> claims = object(
                "iss", "https://licenses.acme.example", "sub", "cust_1", "aud", "acme-app",
                "jti", "lic_1", "iat", NOW - 60, "nbf", NOW - 60, "exp", NOW + 14 * DAY,
                "plan", "professional", "trial", false, "features", List.of("editor", "export"),
                "limits", object("seats", 5L), "license_expires", NOW + 30 * DAY,
                "grace_until", null, "seq", 1L, "ver", 1L);
        claims.putAll(object(changed));
        return sign("license+jwt", claims);
    }

    /** Returns a bundle of these keys, signed by this key as the root. */
    String bundle(Signing... keys) {
        return bundle(keysOf(keys), keys.length, List.of());
    }

    private static List<Object> keysOf(Signing... keys) {
        List<Object> jwks = new ArrayList<>();
        for (Signing key : keys) {
            Map<String, Object> jwk = key.jwk();
            jwk.putAll(object("nbf", NOW - 100 * DAY, "exp", null));
            jwks.add(jwk);
        }
        return jwks;
    }

    /** Returns a bundle without keys that revokes one. */
    String revocation(String kid) {
        return bundle(List.of(), 9, List.of(kid));
    }

    /** Returns a bundle with one key. */
    String bundle(long seq, Signing key) {
        return bundle(keysOf(key), seq, List.of());
    }

    private String bundle(List<Object> keys, long seq, List<String> revoked) {
        return sign("license-keys+jwt", object(
                "iss", "https://licenses.acme.example", "iat", NOW - DAY, "exp", null,
                "seq", seq, "keys", keys, "revoked", revoked));
    }

    /** Returns a list of 1,024 licenses in which one is revoked. */
    String list(String uri, int revoked) {
        return list(uri, revoked, NOW);
    }

    String list(String uri, int revoked, long issuedAt) {
        byte[] bits = new byte[128];
        bits[revoked / 8] |= (byte) (1 << revoked % 8);
        return list(uri, deflate(bits), issuedAt);
    }

    String list(String uri, byte[] compressed) {
        return list(uri, compressed, NOW);
    }

    private String list(String uri, byte[] compressed, long issuedAt) {
        return sign("statuslist+jwt", object(
                "sub", uri, "iat", issuedAt, "exp", issuedAt + DAY, "ttl", 3_600L,
                "status_list", object("bits", 1L, "lst", Text.encodeBase64url(compressed))));
    }

    static byte[] deflate(byte[] bytes) {
        Deflater deflater = new Deflater();
        deflater.setInput(bytes);
        deflater.finish();
        ByteArrayOutputStream output = new ByteArrayOutputStream();
        byte[] buffer = new byte[4096];
        while (!deflater.finished()) output.write(buffer, 0, deflater.deflate(buffer));
        deflater.end();
        return output.toByteArray();
    }

    static Map<String, Object> object(Object... namesAndValues) {
        Map<String, Object> members = new LinkedHashMap<>();
        for (int at = 0; at < namesAndValues.length; at += 2) {
            members.put((String) namesAndValues[at], namesAndValues[at + 1]);
        }
        return members;
    }
}
