package dev.licentia;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The vendor's public keys that an app contains: one root key, or a key set. */
public final class Trust {
    /** Null for a key set. */
    final Key root;
    /** Null for a root. */
    final KeySet keys;

    private Trust(Key root, KeySet keys) {
        this.root = root;
        this.keys = keys;
    }

    /**
     * Returns the trust in a root key, which signs the bundle of all other keys.
     *
     * @param jwk the JSON text, as {@code licentia keys root export} prints it
     * @throws IllegalArgumentException if it is not a usable public Ed25519 key
     */
    public static Trust root(String jwk) {
        Map<String, Object> members = parse(jwk);
        if (members.containsKey("d")) throw new IllegalArgumentException("the root is private (d)");
        var publicKey = Key.read(members);
        if (publicKey == null) throw new IllegalArgumentException("the root is not usable");
        Object kid = members.containsKey("kid")
                ? members.get("kid")
                : Key.thumbprint((String) members.get("x"));
        if (!isKid(kid)) throw new IllegalArgumentException("the root has no usable kid");
        return new Trust(new Key((String) kid, publicKey, 0, null), null);
    }

    /**
     * Returns the trust in a key set.
     *
     * @param jwks the JSON text, as the server publishes it under {@code /.well-known/jwks.json}
     * @throws IllegalArgumentException if it has no usable key, a private key, or a kid twice
     */
    public static Trust jwks(String jwks) {
        if (!(parse(jwks).get("keys") instanceof List<?> entries)) {
            throw new IllegalArgumentException("the JWKS has no array \"keys\"");
        }
        List<Key> keys = new ArrayList<>();
        for (Object entry : entries) {
            Map<String, Object> jwk = Json.asObject(entry);
            if (jwk == null || !Key.isEd25519(jwk)) continue;
            if (jwk.containsKey("d")) {
                throw new IllegalArgumentException("the JWKS has a private key (d)");
            }
            var publicKey = Key.read(jwk);
            Object kid = jwk.get("kid");
            if (publicKey != null && isKid(kid)) {
                keys.add(new Key((String) kid, publicKey, 0, null));
            }
        }
        KeySet set = new KeySet(keys, List.of());
        if (keys.isEmpty()) throw new IllegalArgumentException("the JWKS has no usable key");
        if (set.repeatsKid()) throw new IllegalArgumentException("the JWKS has a kid twice");
        return new Trust(null, set);
    }

    private static boolean isKid(Object kid) {
        return kid instanceof String text && !text.isEmpty();
    }

    private static Map<String, Object> parse(String json) {
        boolean isTooLong = json != null && Text.isLongerThan(json, Jws.Kind.BUNDLE.maxBytes);
        Map<String, Object> members = isTooLong ? null : Json.parseObject(json);
        if (members == null) throw new IllegalArgumentException("the trust is not a JSON object");
        return members;
    }
}
