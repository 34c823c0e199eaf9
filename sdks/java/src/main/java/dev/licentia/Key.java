package dev.licentia;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.PublicKey;
import java.util.Map;

/**
 * A public key, and the time in which it may sign, in seconds since 1970.
 *
 * @param exp null: no end
 */
record Key(String kid, PublicKey publicKey, long nbf, Long exp) {
    /** Clocks of devices may be this far behind. The server sets {@code iat} as far back. */
    static final long LEEWAY = 60;

    /** Returns whether a document of this {@code iat} was signed in the time of the key. */
    boolean isInTime(long iat) {
        return iat + LEEWAY >= nbf && (exp == null || iat < exp);
    }

    /** Returns the key of a JWK; null for a key of another type or use, and for an unusable one. */
    static PublicKey read(Map<String, Object> jwk) {
        boolean isForSignatures = isEd25519(jwk)
                && (!jwk.containsKey("use") || "sig".equals(jwk.get("use")))
                && (!jwk.containsKey("alg") || Jws.isAlgorithm(jwk.get("alg")));
        if (!isForSignatures || !(jwk.get("x") instanceof String x)) return null;
        return Ed25519.importKey(Text.decodeBase64url(x));
    }

    static boolean isEd25519(Map<String, Object> jwk) {
        return "OKP".equals(jwk.get("kty")) && "Ed25519".equals(jwk.get("crv"));
    }

    /** Returns the RFC 7638 thumbprint of an Ed25519 key. */
    static String thumbprint(String x) {
        String members = "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"" + x + "\"}";
        try {
            MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
            byte[] hash = sha256.digest(members.getBytes(StandardCharsets.US_ASCII));
            return Text.encodeBase64url(hash);
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException("this JDK has no SHA-256", error);
        }
    }
}
