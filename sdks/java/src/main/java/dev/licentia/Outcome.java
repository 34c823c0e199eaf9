package dev.licentia;

/** The outcome of a refresh. */
public enum Outcome {
    /** A fresh license is stored, or the one is kept that was installed meanwhile. */
    RENEWED,
    /** Nothing is paid for any more. After a new purchase, the next refresh succeeds. */
    ENDED,
    /** This license, or its key, was revoked. The user logs in, or contacts the vendor. */
    REVOKED,
    /** There is no license, or the server cannot refresh it. The user logs in to get one. */
    UNKNOWN,
    /** The server asks to try again after {@link Refresh#retryAfter}. */
    BUSY,
    /** The server could not be reached. */
    OFFLINE,
    /** The server refused the request, or its license does not verify; see {@link Refresh#code}. */
    FAILED
}
