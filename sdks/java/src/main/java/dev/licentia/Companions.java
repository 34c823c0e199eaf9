package dev.licentia;

/**
 * What travels with a license; each may be null.
 *
 * @param keys a key bundle
 * @param status a status list
 */
record Companions(String keys, String status) {}
