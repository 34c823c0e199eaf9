package dev.licentia;

/**
 * What an app shows and offers for a verdict.
 *
 * @param message one or two English sentences for the user
 */
public record Advice(Level level, Action action, String message) {
    public enum Level {
        /** Show nothing. */
        OK,
        /** Everything works. */
        REMINDER,
        /** A part works. */
        REDUCED,
        /** Nothing works. */
        STOP
    }

    public enum Action {
        NONE,
        /** The app goes online and refreshes the license. */
        REFRESH,
        /** The user pays, or buys a license. */
        BUY,
        /** The user enters a license, or opens a {@code license.json}. */
        ENTER_LICENSE,
        /** The user sets the clock of the device, or the app refreshes the license. */
        SET_CLOCK,
        /** The user installs another version of the app. */
        CHANGE_VERSION,
        /** The user asks the vendor. */
        ASK_VENDOR
    }

    /** Returns what to show for this verdict. */
    public static Advice of(Verdict verdict) {
        if (verdict.state() == State.ACTIVE) {
            return verdict.warn()
                    ? new Advice(Level.REMINDER, Action.REFRESH,
                            "Your license ends soon. Please go online, or renew it.")
                    : new Advice(Level.OK, Action.NONE, "Your license is active.");
        }
        if (verdict.state() == State.GRACE) {
            return new Advice(Level.REMINDER, Action.BUY,
                    "Your last payment is missing. Please pay, so that the app keeps working.");
        }
        Level level = verdict.state() == State.OVERDUE ? Level.REMINDER
                : verdict.state() == State.LIMITED ? Level.REDUCED : Level.STOP;
        return switch (verdict.code()) {
            case TOO_LARGE, MALFORMED, WRONG_TYPE, CRITICAL_HEADER, UNSUPPORTED_ALGORITHM,
                    BAD_SIGNATURE, INVALID_CLAIMS -> new Advice(level, Action.ENTER_LICENSE,
                    "There is no valid license. Please enter all of it.");
            case WRONG_AUDIENCE, WRONG_ISSUER -> new Advice(level, Action.ENTER_LICENSE,
                    "This license is for another product. Please enter the license of this app.");
            case UNKNOWN_KEY -> new Advice(level, Action.REFRESH,
                    "The license cannot be checked on this device yet. Please go online once.");
            case KEY_NOT_VALID, KEY_REVOKED -> new Advice(level, Action.ASK_VENDOR,
                    "This license was replaced. Please ask us for the new one.");
            case NOT_YET_VALID, CLOCK_ROLLED_BACK -> new Advice(level, Action.SET_CLOCK,
                    "The clock of this device is wrong. Please set it, or go online.");
            case UNSUPPORTED_VERSION -> new Advice(level, Action.CHANGE_VERSION,
                    "This license needs a newer version of the app. Please update it.");
            case UPDATE_NOT_COVERED -> new Advice(level, Action.CHANGE_VERSION,
                    "Your license covers older versions. Please use one, or buy the updates.");
            case REVOKED -> new Advice(level, Action.ASK_VENDOR,
                    "This license was revoked. Please ask us.");
            case STALE_STATUS -> new Advice(level, Action.REFRESH,
                    "The license must be checked online. Please go online once.");
            case WRONG_DEVICE -> new Advice(level, Action.ASK_VENDOR,
                    "This license belongs to another device. Please ask us to move it.");
            case LICENSE_EXPIRED -> new Advice(level, Action.BUY,
                    "Your license has ended. Please renew it.");
            case TOKEN_EXPIRED -> new Advice(level, Action.REFRESH,
                    "The license must be renewed online. Please go online once.");
        };
    }
}
