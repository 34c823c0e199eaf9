package dev.licentia;

import java.time.Duration;

/**
 * The result of a refresh.
 *
 * @param verdict the verdict about the stored license, after the refresh
 * @param code the code of the server's problem, or of the verdict about the license that it sent;
 *     null if there is none
 * @param retryAfter how long to wait before the next try; null if the server does not say
 */
public record Refresh(Outcome outcome, Verdict verdict, String code, Duration retryAfter) {
    /**
     * Returns whether the refresh is tried again soon. A clock that seems wrong may have been
     * corrected: the next license, which is signed later, confirms it.
     */
    boolean shouldRetry() {
        Code code = verdict.code();
        boolean isClockWrong = code == Code.CLOCK_ROLLED_BACK || code == Code.NOT_YET_VALID;
        return outcome == Outcome.BUSY || outcome == Outcome.OFFLINE || isClockWrong;
    }
}
