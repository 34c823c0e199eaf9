package dev.licentia;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a license is worth now. It is the same in every language. Times are seconds since 1970.
 *
 * @param valid whether the app may work at all
 * @param state null when invalid
 * @param code the reason; null when the state is active
 * @param features the features in effect now; none when invalid
 * @param limits the limits in effect now; none when invalid
 * @param plan null while signature and claims do not hold; so are the next four
 * @param trial whether this is a trial
 * @param customerId the id of the customer
 * @param licenseId the id of the license
 * @param updatesUntil builds made later are not covered; null: all are
 * @param warn whether to tell the user about an end that has come, or soon comes
 * @param changesAt when the verdict changes next if nothing new is fetched, or null
 */
public record Verdict(
        boolean valid, State state, Code code, List<String> features, Map<String, Long> limits,
        String plan, Boolean trial, String customerId, String licenseId, Long updatesUntil,
        boolean warn, Long changesAt) {

    /** Returns the verdict about a license; {@code claims} is null if they do not hold. */
    static Verdict of(Claims claims, Judge.Outcome outcome, Long changesAt, long now) {
        State state = outcome.state();
        if (claims == null) {
            return new Verdict(false, null, outcome.code(), List.of(), Map.of(), null, null, null,
                    null, null, false, null);
        }
        boolean isLimited = state == State.LIMITED;
        List<String> features = isLimited ? claims.onEnd().features() : claims.features();
        Map<String, Long> limits = isLimited ? claims.onEnd().limits() : claims.limits();
        return new Verdict(
                state != null, state, outcome.code(),
                state == null ? List.of() : features,
                state == null ? Map.of() : limits,
                claims.plan(), claims.trial(), claims.sub(), claims.jti(), claims.updatesUntil(),
                Judge.needsWarning(claims, outcome, changesAt, now), changesAt);
    }

    /** Returns whether a feature is in effect. */
    public boolean allows(String feature) {
        return features.contains(feature);
    }

    /** Returns the limit with this name; null if there is none. */
    public Long limit(String name) {
        return limits.get(name);
    }

    /** Returns the members with the names that all languages use. */
    public Map<String, Object> toMap() {
        Map<String, Object> members = new LinkedHashMap<>();
        members.put("valid", valid);
        members.put("state", state == null ? null : state.toString());
        members.put("code", code == null ? null : code.toString());
        members.put("features", features);
        members.put("limits", limits);
        members.put("plan", plan);
        members.put("trial", trial);
        members.put("customer_id", customerId);
        members.put("license_id", licenseId);
        members.put("updates_until", updatesUntil);
        members.put("warn", warn);
        members.put("changes_at", changesAt);
        return members;
    }
}
