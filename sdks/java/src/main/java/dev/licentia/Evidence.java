package dev.licentia;

import java.time.Instant;

/**
 * Everything that is verified. All but the license may be null.
 *
 * @param license the license token, or the text of {@code license.json}
 * @param keys the key bundle, if it came separately
 * @param status the status list, if it came separately
 * @param memory the memory that was stored after the last verdict
 * @param now seconds since 1970; null: the time of the system's clock
 */
public record Evidence(String license, String keys, String status, String memory, Long now) {
    /** Returns the evidence with nothing but a license. */
    public static Evidence of(String license) {
        return new Evidence(license, null, null, null, null);
    }

    /** Returns the evidence without a license, to bring a key bundle or a status list. */
    public static Evidence none() {
        return of(null);
    }

    public Evidence withLicense(String license) {
        return new Evidence(license, keys, status, memory, now);
    }

    public Evidence withKeys(String keys) {
        return new Evidence(license, keys, status, memory, now);
    }

    public Evidence withStatus(String status) {
        return new Evidence(license, keys, status, memory, now);
    }

    public Evidence withMemory(String memory) {
        return new Evidence(license, keys, status, memory, now);
    }

    public Evidence at(long now) {
        return new Evidence(license, keys, status, memory, now);
    }

    /**
     * A time before 1970 counts as 0, and one after the year 9999 as its end: a memory with a later
     * time could not be read again.
     */
    long seconds() {
        long seconds = now == null ? Instant.now().getEpochSecond() : now;
        return Math.min(Math.max(0, seconds), Values.MAX_TIME);
    }
}
