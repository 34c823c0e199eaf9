package dev.licentia;

/**
 * The verdict, and what to store.
 *
 * @param memory the memory to store, and to pass to the next verdict
 * @param licenseFile the {@code license.json} to store: the license with the best bundle and list;
 *     null without a license
 * @param keys the key bundle that counts; null if none does
 * @param status the status list that counts; null if none does
 * @param statusUri the address of the status list; null if the license names none, or did not
 *     verify
 */
public record Answer(
        Verdict verdict, String memory, String licenseFile, String keys, String status,
        String statusUri) {}
