package dev.licentia;

import java.util.List;
import java.util.Map;

/**
 * The claims of a license. Times are seconds since 1970. Null stands for none.
 *
 * @param device the thumbprint of the only device that may use the license
 */
record Claims(
        String iss, String sub, String aud, long iat, long nbf, long exp, String jti, String plan,
        boolean trial, List<String> features, Map<String, Long> limits, Long licenseExpires,
        Long graceUntil, long seq, Long updatesUntil, OnEnd onEnd, Long warnDays, Status status,
        String device) {

    /** The version of the claims that this package understands. */
    private static final long VERSION = 1;

    /**
     * What remains when the license is over, or its token has run out.
     *
     * @param mode the state then; null: nothing remains
     */
    record OnEnd(State mode, List<String> features, Map<String, Long> limits) {}

    /** The license's place in a status list. */
    record Status(long idx, String uri) {}

    /** Returns the claims in these members. */
    static Claims read(Map<String, Object> members) throws Rejection {
        long version = Values.number(members.get("ver"));
        if (version > VERSION) throw new Rejection(Code.UNSUPPORTED_VERSION);
        if (version != VERSION) throw Values.invalid();
        Claims claims = new Claims(
                Values.id(members.get("iss")),
                Values.id(members.get("sub")),
                Values.text(members.get("aud")),
                Values.time(members.get("iat")),
                Values.time(members.get("nbf")),
                Values.time(members.get("exp")),
                Values.id(members.get("jti")),
                Values.text(members.get("plan")),
                Values.flag(members.get("trial")),
                Values.texts(members.get("features")),
                Values.limits(members.get("limits")),
                Values.orNull(members, "license_expires", Values::time),
                Values.orNull(members, "grace_until", Values::time),
                Values.number(members.get("seq")),
                Values.ifPresent(members, "updates_until", Values::time, null),
                Values.ifPresent(members, "on_end", Claims::onEnd, STOP),
                Values.ifPresent(members, "warn_days", Values::number, null),
                Values.ifPresent(members, "status", Claims::status, null),
                Values.ifPresent(members, "cnf", Claims::device, null));
        if (claims.licenseExpires == null && claims.graceUntil != null) throw Values.invalid();
        return claims;
    }

    private static final OnEnd STOP = new OnEnd(null, List.of(), Map.of());

    private static OnEnd onEnd(Object value) throws Rejection {
        Map<String, Object> members = Values.object(value);
        List<String> features = Values.ifPresent(members, "features", Values::texts, List.of());
        Map<String, Long> limits = Values.ifPresent(members, "limits", Values::limits, Map.of());
        return switch (Values.text(members.get("mode"))) {
            case "stop" -> STOP;
            case "limited" -> new OnEnd(State.LIMITED, features, limits);
            case "warn" -> new OnEnd(State.OVERDUE, List.of(), Map.of());
            default -> throw Values.invalid();
        };
    }

    private static Status status(Object value) throws Rejection {
        Map<String, Object> list = Values.object(Values.object(value).get("status_list"));
        return new Status(Values.number(list.get("idx")), Values.id(list.get("uri")));
    }

    private static String device(Object value) throws Rejection {
        return Values.id(Values.object(value).get("jkt"));
    }
}
