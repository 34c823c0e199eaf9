package dev.licentia;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** Cases: questions with the expected verdicts, as the project's test vectors have them. */
final class Cases {
    private Cases() {}

    /**
     * Returns the verdict of a case and {@code memory}, or {@code steps} with the verdicts of a
     * sequence.
     *
     * @throws IllegalArgumentException if this is not a case, or the trust is unusable
     */
    static Map<String, Object> run(Object given) {
        Map<String, Object> members = Json.asObject(given);
        if (members == null) throw new IllegalArgumentException("a case is a JSON object");
        if (!members.containsKey("steps")) return runOne(members);
        Map<String, Object> results = new LinkedHashMap<>();
        results.put("steps", runSteps(members));
        return results;
    }

    /** Each step inherits the outer members, and has the memory of the step before or its own. */
    private static List<Map<String, Object>> runSteps(Map<String, Object> outer) {
        List<Map<String, Object>> results = new ArrayList<>();
        Object memory = outer.get("memory");
        for (Map<String, Object> step : steps(outer)) {
            Map<String, Object> members = new LinkedHashMap<>(outer);
            members.put("memory", memory);
            members.putAll(step);
            Map<String, Object> result = runOne(members);
            memory = result.get("memory");
            results.add(result);
        }
        return results;
    }

    private static List<Map<String, Object>> steps(Map<String, Object> outer) {
        if (!(outer.get("steps") instanceof List<?> steps)) {
            throw new IllegalArgumentException("steps is not an array");
        }
        return steps.stream().map(Json::asObject).toList();
    }

    private static Map<String, Object> runOne(Map<String, Object> members) {
        Verifier verifier = Verifier.of(trust(members.get("trust")), text(members, "audience"))
                .issuedBy(text(members, "issuer"))
                .forBuild(number(members, "build"))
                .onDevice(text(members, "device"))
                .withMaxStatusAge(number(members, "max_status_age"));
        Long now = number(members, "now");
        if (now == null) throw new IllegalArgumentException("the case has no number \"now\"");
        Answer answer = verifier.verify(new Evidence(
                text(members, "license"), text(members, "keys"), text(members, "status"),
                text(members, "memory"), now));
        Map<String, Object> result = answer.verdict().toMap();
        result.put("memory", answer.memory());
        return result;
    }

    private static Trust trust(Object value) {
        Map<String, Object> trust = Json.asObject(value);
        if (trust == null) throw new IllegalArgumentException("the case has no trust");
        return trust.containsKey("root")
                ? Trust.root(Json.write(trust.get("root")))
                : Trust.jwks(Json.write(trust.get("jwks")));
    }

    private static String text(Map<String, Object> members, String name) {
        return members.get(name) instanceof String text ? text : null;
    }

    private static Long number(Map<String, Object> members, String name) {
        return members.get(name) instanceof Long number ? number : null;
    }

    /** Returns the first difference to what a case expects; null if there is none. */
    static String check(Object given) {
        Map<String, Object> members = Json.asObject(given);
        Map<String, Object> result = run(given);
        if (!members.containsKey("steps")) return findDifference(members, result);
        List<Map<String, Object>> steps = steps(members);
        for (int index = 0; index < steps.size(); index++) {
            Map<String, Object> step = new LinkedHashMap<>(members);
            step.putAll(steps.get(index));
            Object found = ((List<?>) result.get("steps")).get(index);
            String difference = findDifference(step, Json.asObject(found));
            if (difference != null) return "step " + (index + 1) + ": " + difference;
        }
        return null;
    }

    private static String findDifference(Map<String, Object> given, Map<String, Object> result) {
        Map<String, Object> expected = Json.asObject(given.get("expect"));
        if (expected == null) return "expect is missing";
        for (String member : expected.keySet()) {
            Object wanted = expected.get(member);
            Object got = result.get(member);
            // As parsed from JSON: collections and numbers are then of the same types.
            if (member.equals("memory") && wanted != null) got = Json.parseCases((String) got);
            if (!Objects.equals(wanted, Json.parseCases(Json.write(got)))) {
                return member + ": expected " + Json.write(wanted) + ", got " + Json.write(got);
            }
        }
        return null;
    }
}
