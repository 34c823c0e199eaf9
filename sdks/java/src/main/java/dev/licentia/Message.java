package dev.licentia;

import java.time.Instant;
import java.time.ZoneOffset;

/** A sentence for the user about each verdict, in English. Translate it by state and code. */
public final class Message {
    private static final String CONNECT =
            "Please connect to the internet once, so that your license can be refreshed.";

    private Message() {}

    /** Returns what to show the user; null while there is nothing to say. */
    public static String of(Verdict verdict) {
        if (verdict.state() == null) return ofInvalid(verdict);
        return switch (verdict.state()) {
            case ACTIVE -> verdict.warn()
                    ? "Please connect to the internet or renew your license by "
                            + day(verdict.changesAt()) + "."
                    : null;
            case GRACE -> "Your license has ended. It still works until "
                    + day(verdict.changesAt()) + ". Please renew it.";
            case OVERDUE -> over(verdict, "Everything keeps working");
            case LIMITED -> over(verdict, "Some features are off");
        };
    }

    private static String over(Verdict verdict, String remains) {
        return verdict.code() == Code.TOKEN_EXPIRED
                ? CONNECT + " " + remains + " until then."
                : "Your license has ended. " + remains + ". Please renew it.";
    }

    private static String ofInvalid(Verdict verdict) {
        return switch (verdict.code()) {
            case LICENSE_EXPIRED -> "Your license has ended. Please renew it to continue.";
            case TOKEN_EXPIRED, STALE_STATUS, UNKNOWN_KEY, KEY_NOT_VALID -> CONNECT;
            case REVOKED, KEY_REVOKED -> "This license was revoked."
                    + " Please log in to get your current one, or contact us.";
            case WRONG_DEVICE -> "This license belongs to another device.";
            case NOT_YET_VALID, CLOCK_ROLLED_BACK ->
                    "The clock of this device is wrong. Please set it and try again.";
            case UNSUPPORTED_VERSION ->
                    "This license needs a newer version of the app. Please update the app.";
            case WRONG_AUDIENCE, WRONG_ISSUER -> "This license is for another product.";
            case UPDATE_NOT_COVERED -> "Your license covers versions until "
                    + day(verdict.updatesUntil()) + ". Use an earlier one or buy the updates.";
            default -> "There is no valid license. Please enter all of it.";
        };
    }

    private static String day(Long seconds) {
        Instant time = Instant.ofEpochSecond(seconds == null ? 0 : seconds);
        return time.atOffset(ZoneOffset.UTC).toLocalDate().toString();
    }
}
