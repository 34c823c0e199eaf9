package dev.licentia;

import java.util.Arrays;
import java.util.Map;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/** A status list: one bit for each license, set when it is revoked. */
record StatusList(String text, long iat, byte[] bits) {
    /** The largest list: 2^20 bits. */
    private static final int MAX_BYTES = (1 << 20) / 8;

    /** Returns the list; null if it is not the license's, or not signed by a key of the set. */
    static StatusList open(String text, KeySet keys, Claims.Status reference) {
        try {
            KeySet.Opened opened = keys.open(Jws.parse(text, Jws.Kind.LIST));
            Map<String, Object> claims = opened.claims();
            long iat = Values.time(claims.get("iat"));
            Values.ifPresent(claims, "exp", Values::time, null);
            Values.ifPresent(claims, "ttl", Values::number, null);
            if (!reference.uri().equals(claims.get("sub"))) return null;
            if (!opened.key().isInTime(iat)) return null;
            Map<String, Object> members = Values.object(claims.get("status_list"));
            byte[] compressed = Text.decodeBase64url(Values.text(members.get("lst")));
            if (compressed == null || Values.number(members.get("bits")) != 1) return null;
            byte[] bits = inflate(compressed);
            if (bits == null) return null;
            StatusList list = new StatusList(text, iat, bits);
            return list.has(reference.idx()) ? list : null;
        } catch (Rejection rejection) {
            return null;
        }
    }

    boolean has(long idx) {
        return idx < bits.length * 8L;
    }

    boolean isRevoked(long idx) {
        return has(idx) && (bits[(int) (idx / 8)] >> idx % 8 & 1) == 1;
    }

    /** Returns the bits; null if this is not one complete zlib stream, or if it is too large. */
    private static byte[] inflate(byte[] compressed) {
        Inflater inflater = new Inflater();
        try {
            inflater.setInput(compressed);
            // The last byte is there to notice a list that is too large.
            byte[] bits = new byte[MAX_BYTES + 1];
            int length = 0;
            while (length < bits.length && !inflater.finished()) {
                int count = inflater.inflate(bits, length, bits.length - length);
                if (count == 0 && !inflater.finished()) return null;
                length += count;
            }
            boolean isComplete = inflater.finished() && inflater.getRemaining() == 0;
            return isComplete && length <= MAX_BYTES ? Arrays.copyOf(bits, length) : null;
        } catch (DataFormatException error) {
            return null;
        } finally {
            inflater.end();
        }
    }
}
