package dev.licentia;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A bundle of keys that the root has signed.
 *
 * @param exp null: no end
 */
record Bundle(String text, long iat, Long exp, long seq, KeySet keys) {
    /** Returns the bundle; null if it is not signed by the root, or over. */
    static Bundle open(String text, Key root, long now) {
        try {
            Jws jws = Jws.parse(text, Jws.Kind.BUNDLE);
            if (!jws.kid().equals(root.kid())) return null;
            Map<String, Object> claims = jws.open(root.publicKey());
            Values.id(claims.get("iss"));
            long iat = Values.time(claims.get("iat"));
            Long exp = Values.orNull(claims, "exp", Values::time);
            long seq = Values.number(claims.get("seq"));
            List<Key> keys = new ArrayList<>();
            for (Object entry : Values.array(claims.get("keys"))) {
                Key key = key(entry);
                if (key != null && !key.publicKey().equals(root.publicKey())) keys.add(key);
            }
            KeySet set = new KeySet(keys, Values.texts(claims.get("revoked")));
            boolean isOver = exp != null && now >= exp;
            return set.repeatsKid() || isOver ? null : new Bundle(text, iat, exp, seq, set);
        } catch (Rejection rejection) {
            return null;
        }
    }

    /** Returns the key in one entry; null if it cannot be used. */
    private static Key key(Object entry) {
        try {
            Map<String, Object> jwk = Values.object(entry);
            String kid = Values.id(jwk.get("kid"));
            long nbf = Values.time(jwk.get("nbf"));
            Long exp = Values.orNull(jwk, "exp", Values::time);
            var publicKey = jwk.containsKey("d") ? null : Key.read(jwk);
            return publicKey == null ? null : new Key(kid, publicKey, nbf, exp);
        } catch (Rejection rejection) {
            return null;
        }
    }
}
