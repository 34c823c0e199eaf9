package dev.licentia;

import java.time.Duration;

/**
 * The result of a refresh.
 *
 * @param verdict the verdict about the stored license, after the refresh
 * @param retryAfter how long to wait before the next try; null if the server does not say
 */
public record RefreshResult(Outcome outcome, Verdict verdict, Duration retryAfter) {
    public enum Outcome {
        /** The server returned a license, and it is stored. */
        RENEWED,
        /** The customer's license is over. A purchase starts a new one. */
        ENDED,
        /** The license was revoked. The customer logs in for another one, or asks the vendor. */
        REVOKED,
        /** The server does not know the license, for example because the account was deleted. */
        UNKNOWN,
        /** The server asks to try again later. */
        BUSY,
        /** The server could not be reached. */
        OFFLINE,
        /** The server returned a license that does not verify here. The former one is kept. */
        REJECTED,
        /** No license is stored. */
        NO_LICENSE
    }

    /** Returns whether the refresh is tried again soon. */
    boolean hasFailed() {
        return outcome == Outcome.BUSY || outcome == Outcome.OFFLINE;
    }
}
