package dev.licentia;

import java.io.IOException;
import java.util.List;
import java.util.Map;

/**
 * What a store contains.
 *
 * <p>{@code memory.json} has the memory, and with it the bundle and the list that the memory refers
 * to. They are replaced together. So neither a crash nor another process can leave a memory that
 * refuses the only bundle that there is.
 *
 * @param license the text of {@code license.json}; null if there is none
 * @param memoryFile the text of {@code memory.json}; null if there is none
 * @param memory the memory alone
 * @param beside the bundle and the list of {@code memory.json}
 */
record Stored(String license, String memoryFile, String memory, Companions beside) {
    private static final String KEYS = "keys";
    private static final String STATUS = "status";

    static Stored load(Store store) throws IOException {
        // The license first would be older than the memory, if another process stores both in
        // between.
        String memoryFile = store.read(Store.Name.MEMORY);
        String license = store.read(Store.Name.LICENSE);
        Map<String, Object> members = memoryFile == null ? null : Json.parseObject(memoryFile);
        if (members == null) {
            return new Stored(license, memoryFile, null, new Companions(null, null));
        }
        Companions beside =
                new Companions(text(members.remove(KEYS)), text(members.remove(STATUS)));
        return new Stored(license, memoryFile, Json.write(members), beside);
    }

    Stored withMemory(String memory) {
        return new Stored(license, memoryFile, memory, beside);
    }

    /** Returns the license token; empty if there is none. */
    String token() {
        String token = LicenseFile.parse(license).license();
        return token == null ? "" : Text.clean(token);
    }

    /** Writes the license, if it has changed. */
    void saveLicense(Store store, Answer answer) throws IOException {
        String text = answer.licenseFile();
        if (text != null && !text.equals(license)) store.write(Store.Name.LICENSE, text);
    }

    /** Writes the memory, if it has changed. A bundle and a list are kept until others count. */
    void saveMemory(Store store, Answer answer) throws IOException {
        Map<String, Object> members = Json.parseObject(answer.memory());
        String keys = answer.keys() == null ? beside.keys() : answer.keys();
        String status = answer.status() == null ? beside.status() : answer.status();
        if (keys != null) members.put(KEYS, keys);
        if (status != null) members.put(STATUS, status);
        String text = Json.write(members);
        if (!text.equals(memoryFile)) store.write(Store.Name.MEMORY, text);
    }

    private static String text(Object value) {
        return value instanceof String text ? text : null;
    }
}
