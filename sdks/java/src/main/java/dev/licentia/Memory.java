package dev.licentia;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The state that an app keeps between two verdicts, so that no clock or list can be set back. */
final class Memory {
    private static final long VERSION = 1;
    /** Larger texts are not read. */
    private static final int MAX_BYTES = 256 * 1024;
    /** The clock may be set back this far, in seconds. */
    private static final long MAX_ROLLBACK = 3_600;
    private static final long DAY = 86_400;

    /** @param revoked the indexes of this customer's licenses that are revoked */
    private record RememberedList(long iat, Set<Long> revoked) {}

    /** The latest time of the device at a verdict. */
    private long time = 0;
    /** The latest {@code iat} in anything that verified. */
    private long signed = 0;
    private long keysSeq = 0;
    private final Map<String, Long> seq = new LinkedHashMap<>();
    private final Map<String, RememberedList> lists = new LinkedHashMap<>();

    private Memory() {}

    /** Returns the memory of this text; an empty one if there is none or it cannot be read. */
    static Memory parse(String text) {
        boolean isTooLong = text != null && Text.isLongerThan(text, MAX_BYTES);
        Map<String, Object> members = isTooLong ? null : Json.parseObject(text);
        if (members == null) return new Memory();
        try {
            Memory memory = new Memory();
            if (Values.number(members.get("v")) != VERSION) return memory;
            memory.time = Values.time(members.get("time"));
            memory.signed = Values.time(members.get("signed"));
            memory.keysSeq = Values.number(members.get("keys_seq"));
            memory.seq.putAll(Values.limits(members.get("seq")));
            for (var entry : Values.object(members.get("lists")).entrySet()) {
                Map<String, Object> list = Values.object(entry.getValue());
                Set<Long> revoked = new TreeSet<>();
                for (Object idx : Values.array(list.get("revoked"))) {
                    revoked.add(Values.number(idx));
                }
                long iat = Values.time(list.get("iat"));
                memory.lists.put(entry.getKey(), new RememberedList(iat, revoked));
            }
            return memory;
        } catch (Rejection rejection) {
            return new Memory();
        }
    }

    /** Returns the text to store. */
    String toText() {
        Map<String, Object> listMembers = new LinkedHashMap<>();
        lists.forEach((uri, list) -> {
            Map<String, Object> members = new LinkedHashMap<>();
            members.put("iat", list.iat);
            members.put("revoked", list.revoked);
            listMembers.put(uri, members);
        });
        Map<String, Object> members = new LinkedHashMap<>();
        members.put("v", VERSION);
        members.put("time", time);
        members.put("signed", signed);
        members.put("keys_seq", keysSeq);
        members.put("seq", seq);
        members.put("lists", listMembers);
        return Json.write(members);
    }

    long keysSeq() {
        return keysSeq;
    }

    /** Returns the {@code iat} of the latest list at this address; 0 if there was none. */
    long listIat(String uri) {
        RememberedList list = lists.get(uri);
        return list == null ? 0 : list.iat;
    }

    boolean isRevoked(Claims.Status reference) {
        RememberedList list = lists.get(reference.uri());
        return list != null && list.revoked.contains(reference.idx());
    }

    /** Returns the earliest time at which the clock does not count as rolled back. */
    long clockFloor() {
        return Math.max(time, signed) - MAX_ROLLBACK;
    }

    /** Returns whether the clock was set back, and this license does not heal that. */
    boolean isClockRolledBack(Claims license, long now) {
        return now < clockFloor() && !isHealedBy(license, now);
    }

    /** A newer license, signed within a day of the device's clock, heals a clock that was ahead. */
    private boolean isHealedBy(Claims license, long now) {
        return license.iat() > signed && Math.abs(license.iat() - now) <= DAY;
    }

    void rememberBundle(Bundle bundle) {
        signed = Math.max(signed, bundle.iat());
        keysSeq = Math.max(keysSeq, bundle.seq());
    }

    /** @param before the memory before this verdict */
    void rememberLicense(Claims license, Memory before, long now) {
        boolean heals = now < before.clockFloor() && before.isHealedBy(license, now);
        time = heals ? now : Math.max(time, now);
        signed = Math.max(signed, license.iat());
        seq.merge(license.sub(), license.seq(), Math::max);
    }

    void rememberList(StatusList list, Claims.Status reference) {
        signed = Math.max(signed, list.iat());
        RememberedList former = lists.get(reference.uri());
        Set<Long> revoked = former == null ? new TreeSet<>() : new TreeSet<>(former.revoked);
        revoked.add(reference.idx());
        revoked.removeIf(idx -> list.has(idx) && !list.isRevoked(idx));
        lists.put(reference.uri(), new RememberedList(list.iat(), revoked));
    }
}
