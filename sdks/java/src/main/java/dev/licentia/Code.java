package dev.licentia;

import java.util.Locale;

/** The reasons why a license is not, or not fully, in effect. {@code toString} returns the name. */
public enum Code {
    TOO_LARGE, MALFORMED, WRONG_TYPE, CRITICAL_HEADER, UNSUPPORTED_ALGORITHM, KEY_REVOKED,
    UNKNOWN_KEY, BAD_SIGNATURE, UNSUPPORTED_VERSION, INVALID_CLAIMS, KEY_NOT_VALID, WRONG_AUDIENCE,
    WRONG_ISSUER, NOT_YET_VALID, CLOCK_ROLLED_BACK, REVOKED, STALE_STATUS, WRONG_DEVICE,
    UPDATE_NOT_COVERED, LICENSE_EXPIRED, TOKEN_EXPIRED;

    /** Returns the name that all languages and the API use, for example {@code token_expired}. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
