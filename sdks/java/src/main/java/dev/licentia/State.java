package dev.licentia;

import java.util.Locale;

/** How much of a valid license is in effect. {@code toString} returns the name. */
public enum State {
    /** All of it. */
    ACTIVE,
    /** All of it, while a payment is late. */
    GRACE,
    /** All of it, although it is over ({@code on_end} mode {@code warn}). */
    OVERDUE,
    /** The remainder that {@code on_end} grants. */
    LIMITED;

    /** Returns the name that all languages use, for example {@code grace}. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
