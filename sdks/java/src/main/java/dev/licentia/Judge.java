package dev.licentia;

import java.util.Objects;
import java.util.stream.Stream;

/**
 * The rules for a license that a trusted key signed for this app. Pure functions of time.
 *
 * @param staleFrom when the status list is too old; null if its age does not matter
 * @param device null: not given
 * @param build null: not given
 */
record Judge(Claims claims, boolean isRevoked, Long staleFrom, String device, Long build) {
    /** A valid license has a state, and an invalid one null. The code is null only when active. */
    record Outcome(State state, Code code) {
        static Outcome invalid(Code code) {
            return new Outcome(null, code);
        }
    }

    /** Returns the outcome at {@code now}: the first rule that fails determines the code. */
    Outcome outcomeAt(long now, boolean isClockRolledBack) {
        if (now < beginning()) return Outcome.invalid(Code.NOT_YET_VALID);
        if (isClockRolledBack) return Outcome.invalid(Code.CLOCK_ROLLED_BACK);
        if (isRevoked) return Outcome.invalid(Code.REVOKED);
        if (staleFrom != null && now >= staleFrom) return Outcome.invalid(Code.STALE_STATUS);
        if (claims.device() != null && !claims.device().equals(device)) {
            return Outcome.invalid(Code.WRONG_DEVICE);
        }
        if (claims.updatesUntil() != null && build != null && build > claims.updatesUntil()) {
            return Outcome.invalid(Code.UPDATE_NOT_COVERED);
        }
        State remaining = claims.onEnd().mode();
        Long expires = claims.licenseExpires();
        if (expires != null && now >= end()) return new Outcome(remaining, Code.LICENSE_EXPIRED);
        if (now >= claims.exp()) return new Outcome(remaining, Code.TOKEN_EXPIRED);
        if (expires != null && now >= expires) return new Outcome(State.GRACE, Code.LICENSE_EXPIRED);
        return new Outcome(State.ACTIVE, null);
    }

    /** Returns the time from which on the license is accepted. */
    private long beginning() {
        return Math.max(claims.nbf(), claims.iat()) - Key.LEEWAY;
    }

    /** Returns the end of the license, including the grace period; null: none. */
    private Long end() {
        Long expires = claims.licenseExpires();
        Long grace = claims.graceUntil();
        return grace == null ? expires : Long.valueOf(Math.max(expires, grace));
    }

    /**
     * Returns when the outcome changes next if nothing new is fetched, or null.
     *
     * @param clockFloor the earliest time at which the clock does not count as rolled back
     * @param bundleEnd the end of the bundle, after which the license's key is unknown, or null
     */
    Long nextChange(Outcome outcome, long clockFloor, Long bundleEnd, long now) {
        if (outcome.code == Code.NOT_YET_VALID) return beginning();
        if (outcome.code == Code.CLOCK_ROLLED_BACK) {
            boolean isKeyKnown = bundleEnd == null || clockFloor < bundleEnd;
            return isKeyKnown && outcomeAt(clockFloor, false).state != null ? clockFloor : null;
        }
        if (outcome.state != State.ACTIVE && outcome.state != State.GRACE) return null;
        return Stream.of(claims.licenseExpires(), end(), claims.exp(), bundleEnd, staleFrom)
                .filter(Objects::nonNull)
                .filter(time -> time > now)
                .min(Long::compare)
                .orElse(null);
    }

    /** Returns whether to tell the user about an end that has come, or soon comes. */
    static boolean needsWarning(Claims claims, Outcome outcome, Long changesAt, long now) {
        if (outcome.state != State.ACTIVE) return outcome.state != null;
        if (claims.warnDays() == null || changesAt == null) return false;
        // Divided, because `warn_days` times 86,400 may exceed 64 bits.
        return (changesAt - now + 86_399) / 86_400 <= claims.warnDays();
    }
}
