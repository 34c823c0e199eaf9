package dev.licentia;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

/** Reads text: removes what mails and clipboards add to a license, and decodes base64url. */
final class Text {
    private static final String BLANKS = " \t\r\n\uFEFF\u00A0\u200B";
    private static final String QUOTES = "\"'`“”„‘’«»";
    private static final int[] DIGITS = digits();

    private Text() {}

    /**
     * Returns the text without surrounding blanks, without one or two pairs of quotes, and without
     * line breaks. Blanks next to a line break are removed with it; all others stay.
     */
    static String clean(String text) {
        String cleaned = trim(text, 0, text.length());
        for (int pair = 0; pair < 2 && isQuoted(cleaned); pair++) {
            cleaned = trim(cleaned, 1, cleaned.length() - 1);
        }
        StringBuilder joined = new StringBuilder(cleaned.length());
        for (int at = 0; at < cleaned.length(); ) {
            int end = at;
            boolean breaksLine = false;
            while (end < cleaned.length() && isBlank(cleaned.charAt(end))) {
                breaksLine |= cleaned.charAt(end) == '\r' || cleaned.charAt(end) == '\n';
                end++;
            }
            if (!breaksLine) {
                end = Math.max(end, at + 1);
                joined.append(cleaned, at, end);
            }
            at = end;
        }
        return joined.toString();
    }

    private static boolean isQuoted(String text) {
        return text.length() >= 2
                && QUOTES.indexOf(text.charAt(0)) >= 0
                && QUOTES.indexOf(text.charAt(text.length() - 1)) >= 0;
    }

    private static String trim(String text, int start, int end) {
        while (start < end && isBlank(text.charAt(start))) start++;
        while (end > start && isBlank(text.charAt(end - 1))) end--;
        return text.substring(start, end);
    }

    private static boolean isBlank(char character) {
        return BLANKS.indexOf(character) >= 0;
    }

    /** Returns whether the text has more than {@code max} bytes in UTF-8. */
    static boolean isLongerThan(String text, int max) {
        return text.length() > max || text.getBytes(StandardCharsets.UTF_8).length > max;
    }

    /** Returns the text; null if the bytes are not UTF-8. */
    static String decodeUtf8(byte[] bytes) {
        try {
            // A new decoder reports errors. It keeps a byte order mark.
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        } catch (CharacterCodingException error) {
            return null;
        }
    }

    /** Returns the bytes; null for padding, another alphabet, or bits that are not used. */
    static byte[] decodeBase64url(String text) {
        byte[] bytes = new byte[(int) (text.length() * 6L / 8)];
        int length = 0;
        int buffer = 0;
        int bits = 0;
        for (int at = 0; at < text.length(); at++) {
            char character = text.charAt(at);
            int digit = character < 128 ? DIGITS[character] : -1;
            if (digit < 0) return null;
            buffer = (buffer << 6 | digit) & 0xfff;
            bits += 6;
            if (bits >= 8) {
                bits -= 8;
                bytes[length++] = (byte) (buffer >> bits);
            }
        }
        return bits < 6 && (buffer & (1 << bits) - 1) == 0 ? bytes : null;
    }

    static String encodeBase64url(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    private static int[] digits() {
        String alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        int[] digits = new int[128];
        for (int code = 0; code < 128; code++) digits[code] = alphabet.indexOf(code);
        return digits;
    }
}
