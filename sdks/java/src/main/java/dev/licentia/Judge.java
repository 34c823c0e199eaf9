package dev.licentia;

import java.util.stream.LongStream;
import java.util.stream.Stream;

/** The rules for a license that a trusted key signed for this app. Pure functions of time. */
final class Judge {
    /** A valid license has a state, and an invalid one null. The code is null only when active. */
    record Outcome(State state, Code code) {
        static Outcome invalid(Code code) {
            return new Outcome(null, code);
        }
    }

    /** @param staleFrom when the status list is too old; null if its age does not matter */
    record Facts(
            Claims claims, boolean isClockRolledBack, boolean isRevoked, Long staleFrom,
            String device, Long build) {}

    private Judge() {}

    /** Returns the outcome at {@code now}: the first rule that fails determines the code. */
    static Outcome judge(Facts facts, long now) {
        Claims claims = facts.claims;
        if (now < beginning(claims)) return Outcome.invalid(Code.NOT_YET_VALID);
        if (facts.isClockRolledBack) return Outcome.invalid(Code.CLOCK_ROLLED_BACK);
        if (facts.isRevoked) return Outcome.invalid(Code.REVOKED);
        if (facts.staleFrom != null && now >= facts.staleFrom) {
            return Outcome.invalid(Code.STALE_STATUS);
        }
        if (claims.device() != null && !claims.device().equals(facts.device)) {
            return Outcome.invalid(Code.WRONG_DEVICE);
        }
        if (claims.updatesUntil() != null && facts.build != null
                && facts.build > claims.updatesUntil()) {
            return Outcome.invalid(Code.UPDATE_NOT_COVERED);
        }
        State remaining = claims.onEnd().mode();
        if (now >= end(claims)) return new Outcome(remaining, Code.LICENSE_EXPIRED);
        if (now >= claims.exp()) return new Outcome(remaining, Code.TOKEN_EXPIRED);
        if (claims.licenseExpires() != null && now >= claims.licenseExpires()) {
            return new Outcome(State.GRACE, Code.LICENSE_EXPIRED);
        }
        return new Outcome(State.ACTIVE, null);
    }

    /** Returns the time from which on the license is accepted. */
    static long beginning(Claims claims) {
        return Math.max(claims.nbf(), claims.iat()) - Key.LEEWAY;
    }

    /** Returns the end of the license, including the grace period. */
    private static long end(Claims claims) {
        if (claims.licenseExpires() == null) return Long.MAX_VALUE;
        return claims.graceUntil() == null
                ? claims.licenseExpires()
                : Math.max(claims.licenseExpires(), claims.graceUntil());
    }

    /** Returns the first time after {@code now} at which a license has less effect, or null. */
    static Long nextEnd(Claims claims, Long bundleEnd, Long staleFrom, long now) {
        Stream<Long> others = Stream.of(claims.licenseExpires(), bundleEnd, staleFrom);
        LongStream ends = LongStream.concat(
                LongStream.of(end(claims), claims.exp()),
                others.filter(time -> time != null).mapToLong(Long::longValue));
        long first = ends.filter(time -> time > now).min().orElse(Long.MAX_VALUE);
        return first == Long.MAX_VALUE ? null : first;
    }

    /** Returns whether to tell the user about an end that has come, or soon comes. */
    static boolean needsWarning(Claims claims, Outcome outcome, Long changesAt, long now) {
        if (outcome.state != State.ACTIVE) return outcome.state != null;
        if (claims.warnDays() == null || changesAt == null) return false;
        // Divided, because `warn_days` times 86,400 may exceed 64 bits.
        long seconds = changesAt - now;
        return (seconds + 86_399) / 86_400 <= claims.warnDays();
    }
}
