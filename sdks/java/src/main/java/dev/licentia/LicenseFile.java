package dev.licentia;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The text of a license: a token, or a {@code license.json} that contains one.
 *
 * @param license null if {@code problem} is the verdict
 */
record LicenseFile(String license, Code problem, String keys, String status) {
    private static final int MAX_BYTES =
            Jws.Kind.LICENSE.maxBytes + Jws.Kind.BUNDLE.maxBytes + Jws.Kind.LIST.maxBytes;

    /** Returns the contents. A token counts as a file without bundle and list. */
    static LicenseFile parse(String given) {
        if (given == null) return new LicenseFile(null, Code.MALFORMED, null, null);
        String text = Text.clean(given);
        // Not cleaned here: a token loses at most two pairs of quotes.
        if (!text.startsWith("{")) return new LicenseFile(given, null, null, null);
        if (Text.isLongerThan(text, MAX_BYTES)) {
            return new LicenseFile(null, Code.TOO_LARGE, null, null);
        }
        Map<String, Object> members = Json.parseObject(text);
        if (members == null) return new LicenseFile(null, Code.MALFORMED, null, null);
        String license = text(members.get("license"));
        Code problem = license == null ? Code.MALFORMED : null;
        return new LicenseFile(
                license, problem, text(members.get("keys")), text(members.get("status")));
    }

    /** Returns the text of a {@code license.json}; null if there is no license. */
    static String write(String license, String keys, String status) {
        if (license == null) return null;
        Map<String, Object> members = new LinkedHashMap<>();
        members.put("license", license);
        if (keys != null) members.put("keys", keys);
        if (status != null) members.put("status", status);
        return Json.write(members);
    }

    Companions companions() {
        return new Companions(keys, status);
    }

    private static String text(Object value) {
        return value instanceof String text ? text : null;
    }
}
