package dev.licentia;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Parses JSON strictly: no repeated members, no lone surrogates, a limit of depth. Values are
 * {@link Map}, {@link List}, {@link String}, {@link Boolean}, null, {@link Long} for whole numbers
 * from 0 to 2^53 - 1, and {@link #OTHER_NUMBER} for all other numbers, for example {@code 1.0}.
 */
final class Json {
    static final Object OTHER_NUMBER = new Object();
    /** The largest number: 2^53 - 1. */
    static final long MAX_NUMBER = (1L << 53) - 1;
    /** How deeply arrays and objects may be nested. */
    private static final int MAX_DEPTH = 64;

    private final String text;
    private final boolean isCase;
    private int at = 0;

    private Json(String text, boolean isCase) {
        this.text = text;
        this.isCase = isCase;
    }

    /** Returns the members of the JSON object; null if the text is anything else. */
    static Map<String, Object> parseObject(String text) {
        if (text == null) return null;
        try {
            return asObject(new Json(text, false).document());
        } catch (SyntaxError error) {
            return null;
        }
    }

    /**
     * Returns the value of a test case. Such cases may contain surrogates that are not paired, and
     * negative numbers, which are a {@link Long} too.
     */
    static Object parseCases(String text) {
        try {
            return new Json(text, true).document();
        } catch (SyntaxError error) {
            throw new IllegalArgumentException(error.getMessage());
        }
    }

    /** Returns the value as an object; null if it is anything else. */
    @SuppressWarnings("unchecked")
    static Map<String, Object> asObject(Object value) {
        return value instanceof Map ? (Map<String, Object>) value : null;
    }

    private static final class SyntaxError extends Exception {
        private static final long serialVersionUID = 1;

        SyntaxError(int at) {
            super("not strict JSON at " + at, null, false, false);
        }
    }

    private Object document() throws SyntaxError {
        Object value = value(1);
        if (at < text.length()) throw error();
        return value;
    }

    /** Returns the value here, and skips the blanks around it. */
    private Object value(int depth) throws SyntaxError {
        skipBlanks();
        Object value = switch (here()) {
            case '{' -> object(depth);
            case '[' -> array(depth);
            case '"' -> string();
            case 't' -> literal("true", true);
            case 'f' -> literal("false", false);
            case 'n' -> literal("null", null);
            default -> number();
        };
        skipBlanks();
        return value;
    }

    private Map<String, Object> object(int depth) throws SyntaxError {
        Map<String, Object> members = new LinkedHashMap<>();
        if (open('}', depth)) return members;
        do {
            skipBlanks();
            String name = string();
            skipBlanks();
            expect(':');
            if (members.containsKey(name)) throw error();
            members.put(name, value(depth + 1));
        } while (skip(','));
        expect('}');
        return members;
    }

    private List<Object> array(int depth) throws SyntaxError {
        List<Object> items = new ArrayList<>();
        if (open(']', depth)) return items;
        do items.add(value(depth + 1)); while (skip(','));
        expect(']');
        return items;
    }

    /** Skips the opening bracket. Returns whether the closing one follows, and skips it, too. */
    private boolean open(char end, int depth) throws SyntaxError {
        if (depth > MAX_DEPTH) throw error();
        at++;
        skipBlanks();
        return skip(end);
    }

    private String string() throws SyntaxError {
        expect('"');
        StringBuilder value = new StringBuilder();
        while (here() != '"') {
            char character = here();
            // The end of the text reads as 0.
            if (character < 0x20) throw error();
            at++;
            value.append(character == '\\' ? escape() : character);
        }
        at++;
        String string = value.toString();
        if (!isCase && hasLoneSurrogate(string)) throw error();
        return string;
    }

    private char escape() throws SyntaxError {
        char letter = here();
        at++;
        return switch (letter) {
            case '"', '\\', '/' -> letter;
            case 'b' -> '\b';
            case 'f' -> '\f';
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 't' -> '\t';
            case 'u' -> hex();
            default -> throw error();
        };
    }

    private char hex() throws SyntaxError {
        int code = 0;
        for (int digits = 0; digits < 4; digits++) {
            char character = here();
            // `Character.digit` alone accepts the digits of other scripts.
            int digit = character < 128 ? Character.digit(character, 16) : -1;
            if (digit < 0) throw error();
            code = code * 16 + digit;
            at++;
        }
        return (char) code;
    }

    private static boolean hasLoneSurrogate(String string) {
        return string.codePoints().anyMatch(code -> code >= 0xD800 && code <= 0xDFFF);
    }

    private Object number() throws SyntaxError {
        int start = at;
        boolean isWhole = !skip('-') || isCase;
        if (!skip('0') && skipDigits() == 0) throw error();
        if (skip('.')) {
            isWhole = false;
            if (skipDigits() == 0) throw error();
        }
        if (skip('e') || skip('E')) {
            isWhole = false;
            if (!skip('+')) skip('-');
            if (skipDigits() == 0) throw error();
        }
        if (!isWhole || at - start > 17) return OTHER_NUMBER;
        long number = Long.parseLong(text, start, at, 10);
        return Math.abs(number) <= MAX_NUMBER ? (Object) number : OTHER_NUMBER;
    }

    private int skipDigits() {
        int start = at;
        while (here() >= '0' && here() <= '9') at++;
        return at - start;
    }

    private Object literal(String name, Object value) throws SyntaxError {
        if (!text.startsWith(name, at)) throw error();
        at += name.length();
        return value;
    }

    private void skipBlanks() {
        while (here() == ' ' || here() == '\t' || here() == '\n' || here() == '\r') at++;
    }

    /** Returns the character here; 0 at the end. */
    private char here() {
        return at < text.length() ? text.charAt(at) : 0;
    }

    private boolean skip(char character) {
        boolean isHere = here() == character && at < text.length();
        if (isHere) at++;
        return isHere;
    }

    private void expect(char character) throws SyntaxError {
        if (!skip(character)) throw error();
    }

    private SyntaxError error() {
        return new SyntaxError(at);
    }

    /** Returns the value as JSON: maps, collections, numbers, booleans, null, and text. */
    static String write(Object value) {
        StringBuilder json = new StringBuilder();
        write(value, json);
        return json.toString();
    }

    private static void write(Object value, StringBuilder json) {
        if (value instanceof Map<?, ?> members) {
            String separator = "{";
            for (Map.Entry<?, ?> member : members.entrySet()) {
                json.append(separator);
                writeString(member.getKey().toString(), json);
                json.append(':');
                write(member.getValue(), json);
                separator = ",";
            }
            json.append(members.isEmpty() ? "{}" : "}");
        } else if (value instanceof Iterable<?> items) {
            String separator = "[";
            for (Object item : items) {
                json.append(separator);
                write(item, json);
                separator = ",";
            }
            json.append(separator.equals("[") ? "[]" : "]");
        } else if (value == null || value instanceof Number || value instanceof Boolean) {
            json.append(value);
        } else {
            writeString(value.toString(), json);
        }
    }

    private static void writeString(String string, StringBuilder json) {
        json.append('"');
        for (int at = 0; at < string.length(); at++) {
            char character = string.charAt(at);
            if (character == '"' || character == '\\') {
                json.append('\\').append(character);
            } else if (character < 0x20 || character == 0x7f || Character.isSurrogate(character)) {
                json.append(String.format("\\u%04x", (int) character));
            } else {
                json.append(character);
            }
        }
        json.append('"');
    }
}
