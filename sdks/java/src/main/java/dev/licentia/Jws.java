package dev.licentia;

import java.nio.charset.StandardCharsets;
import java.security.PublicKey;
import java.util.Map;

/**
 * A signed document (JWS in compact form, RFC 7515) whose signature is not verified yet.
 *
 * @param kid the key that the document names
 */
record Jws(String kid, byte[] signed, byte[] claims, byte[] signature) {
    /** The kinds of documents: their {@code typ}, and the largest size in bytes. */
    enum Kind {
        LICENSE("license+jwt", 8 * 1024),
        BUNDLE("license-keys+jwt", 64 * 1024),
        LIST("statuslist+jwt", 256 * 1024);

        final String type;
        final int maxBytes;

        Kind(String type, int maxBytes) {
            this.type = type;
            this.maxBytes = maxBytes;
        }
    }

    /** Returns the document of this kind that the text contains. */
    static Jws parse(String text, Kind kind) throws Rejection {
        String token = Text.clean(text);
        if (Text.isLongerThan(token, kind.maxBytes)) throw new Rejection(Code.TOO_LARGE);
        String[] parts = token.split("\\.", -1);
        if (parts.length != 3) throw new Rejection(Code.MALFORMED);
        byte[] header = Text.decodeBase64url(parts[0]);
        byte[] claims = Text.decodeBase64url(parts[1]);
        byte[] signature = Text.decodeBase64url(parts[2]);
        if (header == null || claims == null || signature == null) {
            throw new Rejection(Code.MALFORMED);
        }
        Map<String, Object> members = Json.parseObject(Text.decodeUtf8(header));
        if (members == null) throw new Rejection(Code.MALFORMED);
        if (!isType(members.get("typ"), kind)) throw new Rejection(Code.WRONG_TYPE);
        if (members.containsKey("crit")) throw new Rejection(Code.CRITICAL_HEADER);
        if (!isAlgorithm(members.get("alg"))) throw new Rejection(Code.UNSUPPORTED_ALGORITHM);
        if (!(members.get("kid") instanceof String kid)) throw new Rejection(Code.MALFORMED);
        byte[] signed = (parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII);
        return new Jws(kid, signed, claims, signature);
    }

    /** Returns the claims, if the signature is by this key. */
    Map<String, Object> open(PublicKey key) throws Rejection {
        if (!Ed25519.verify(key, signature, signed)) throw new Rejection(Code.BAD_SIGNATURE);
        Map<String, Object> members = Json.parseObject(Text.decodeUtf8(claims));
        if (members == null) throw new Rejection(Code.MALFORMED);
        return members;
    }

    /** Returns whether this is a name of Ed25519: that of RFC 8037 or that of RFC 9864. */
    static boolean isAlgorithm(Object name) {
        return "EdDSA".equals(name) || "Ed25519".equals(name);
    }

    /** Compares without regard to the case of ASCII letters only: no Kelvin sign for a k. */
    private static boolean isType(Object type, Kind kind) {
        return type instanceof String text
                && text.chars().allMatch(character -> character < 128)
                && text.equalsIgnoreCase(kind.type);
    }
}
