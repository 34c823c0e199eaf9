package dev.licentia;

import java.util.List;
import java.util.Map;

/** The keys that may sign licenses and status lists, and the kids that are no longer trusted. */
record KeySet(List<Key> keys, List<String> revoked) {
    static final KeySet EMPTY = new KeySet(List.of(), List.of());

    /** The claims of a document, and the key that signed it. */
    record Opened(Map<String, Object> claims, Key key) {}

    /** Returns the claims, if a key of the set has signed them. */
    Opened open(Jws jws) throws Rejection {
        if (revoked.contains(jws.kid())) throw new Rejection(Code.KEY_REVOKED);
        for (Key key : keys) {
            if (key.kid().equals(jws.kid())) return new Opened(jws.open(key.publicKey()), key);
        }
        throw new Rejection(Code.UNKNOWN_KEY);
    }

    /** Returns whether two keys have the same kid. */
    boolean repeatsKid() {
        return keys.stream().map(Key::kid).distinct().count() < keys.size();
    }
}
