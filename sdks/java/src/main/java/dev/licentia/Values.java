package dev.licentia;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads parsed JSON as typed values. Another type is an {@code invalid_claims}. */
final class Values {
    /** 9999-12-31T23:59:59Z */
    static final long MAX_TIME = 253_402_300_799L;

    private Values() {}

    /** Reads a value. */
    interface Reader<T> {
        T read(Object value) throws Rejection;
    }

    static long number(Object value) throws Rejection {
        if (!(value instanceof Long number)) throw invalid();
        return number;
    }

    static long time(Object value) throws Rejection {
        long time = number(value);
        if (time > MAX_TIME) throw invalid();
        return time;
    }

    static String text(Object value) throws Rejection {
        if (!(value instanceof String text)) throw invalid();
        return text;
    }

    static String id(Object value) throws Rejection {
        String text = text(value);
        if (text.isEmpty()) throw invalid();
        return text;
    }

    static boolean flag(Object value) throws Rejection {
        if (!(value instanceof Boolean flag)) throw invalid();
        return flag;
    }

    static Map<String, Object> object(Object value) throws Rejection {
        Map<String, Object> members = Json.asObject(value);
        if (members == null) throw invalid();
        return members;
    }

    static List<?> array(Object value) throws Rejection {
        if (!(value instanceof List<?> items)) throw invalid();
        return items;
    }

    static List<String> texts(Object value) throws Rejection {
        List<String> texts = new ArrayList<>();
        for (Object item : array(value)) texts.add(text(item));
        return Collections.unmodifiableList(texts);
    }

    static Map<String, Long> limits(Object value) throws Rejection {
        Map<String, Long> limits = new LinkedHashMap<>();
        for (Map.Entry<String, Object> limit : object(value).entrySet()) {
            limits.put(limit.getKey(), number(limit.getValue()));
        }
        return Collections.unmodifiableMap(limits);
    }

    /** Returns null for null. A member that is absent is an error. */
    static <T> T orNull(Map<String, Object> members, String name, Reader<T> reader)
            throws Rejection {
        if (!members.containsKey(name)) throw invalid();
        Object value = members.get(name);
        return value == null ? null : reader.read(value);
    }

    /** Returns the default for a member that is absent. Null is an error. */
    static <T> T ifPresent(Map<String, Object> members, String name, Reader<T> reader, T otherwise)
            throws Rejection {
        return members.containsKey(name) ? reader.read(members.get(name)) : otherwise;
    }

    static Rejection invalid() {
        return new Rejection(Code.INVALID_CLAIMS);
    }
}
