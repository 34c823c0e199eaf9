package dev.licentia;

import java.util.ArrayList;
import java.util.List;

/** Verifies licenses offline. It does no I/O, and never throws for what it verifies. */
public final class Verifier {
    private final Trust trust;
    private final String audience;
    private final String issuer;
    private final Long build;
    private final String device;
    private final Long maxStatusAge;

    private Verifier(
            Trust trust, String audience, String issuer, Long build, String device,
            Long maxStatusAge) {
        this.trust = trust;
        this.audience = audience;
        this.issuer = issuer;
        this.build = build;
        this.device = device;
        this.maxStatusAge = maxStatusAge;
    }

    /**
     * Returns the verifier of an app.
     *
     * @param audience the product: the required {@code aud} of the license
     * @throws IllegalArgumentException if the trust or the audience is missing
     */
    public static Verifier of(Trust trust, String audience) {
        if (trust == null) throw new IllegalArgumentException("the trust is missing");
        if (audience == null || audience.isEmpty()) {
            throw new IllegalArgumentException("the audience (the product) is missing");
        }
        return new Verifier(trust, audience, null, null, null, null);
    }

    /** Requires this {@code iss}. Needed if the keys of several vendors are trusted. */
    public Verifier issuedBy(String issuer) {
        return new Verifier(trust, audience, issuer, build, device, maxStatusAge);
    }

    /** Sets when this build of the app was made, in seconds since 1970 (for updates_until). */
    public Verifier forBuild(Long build) {
        return new Verifier(trust, audience, issuer, build, device, maxStatusAge);
    }

    /** Sets the RFC 7638 thumbprint of the device's key (for {@code cnf}). */
    public Verifier onDevice(String device) {
        return new Verifier(trust, audience, issuer, build, device, maxStatusAge);
    }

    /**
     * Sets how old a status list may be, in seconds. A negative age counts as 0. By default, or
     * with null, it may be old or missing.
     */
    public Verifier withMaxStatusAge(Long maxStatusAge) {
        // No list is as old as the largest number, and sums with it do not overflow.
        Long age = maxStatusAge == null
                ? null
                : Long.valueOf(Math.max(0, Math.min(maxStatusAge, Json.MAX_NUMBER)));
        return new Verifier(trust, audience, issuer, build, device, age);
    }

    /** Returns the verdict, and what to store. */
    public Answer verify(Evidence evidence) {
        return verify(evidence, List.of());
    }

    /** Returns the verdict with the best of the bundles and lists in the evidence and in others. */
    Answer verify(Evidence evidence, List<Companions> others) {
        long now = evidence.seconds();
        Memory before = Memory.parse(evidence.memory());
        Memory memory = Memory.parse(evidence.memory());
        LicenseFile file = LicenseFile.parse(evidence.license());

        List<Companions> given = new ArrayList<>(others);
        given.add(0, new Companions(evidence.keys(), evidence.status()));
        given.add(1, file.companions());

        Bundle bundle = bestBundle(given, before, now);
        if (bundle != null) memory.rememberBundle(bundle);
        KeySet bundled = bundle == null ? KeySet.EMPTY : bundle.keys();
        KeySet keys = trust.keys == null ? bundled : trust.keys;

        Claims claims = null;
        StatusList list = null;
        String statusUri = null;
        Long changesAt = null;
        Judge.Outcome outcome;
        try {
            if (file.problem() != null) throw new Rejection(file.problem());
            KeySet.Opened license = keys.open(Jws.parse(file.license(), Jws.Kind.LICENSE));
            claims = Claims.read(license.claims());
            check(claims, license.key());
            memory.rememberLicense(claims, before, now);
            Claims.Status reference = claims.status();
            if (reference != null) {
                statusUri = reference.uri();
                list = bestList(given, reference, keys, before);
                if (list != null) memory.rememberList(list, reference);
            }
            Long staleFrom = staleFrom(reference, list);
            boolean isRevoked = reference != null && memory.isRevoked(reference);
            Judge judge = new Judge(claims, isRevoked, staleFrom, device, build);
            boolean isRolledBack = before.isClockRolledBack(claims, now);
            outcome = judge.outcomeAt(now, isRolledBack);
            Long bundleEnd = bundle == null ? null : bundle.exp();
            changesAt = judge.nextChange(outcome, before.clockFloor(), bundleEnd, now);
        } catch (Rejection rejection) {
            outcome = Judge.Outcome.invalid(rejection.code);
        }
        String licenseFile = LicenseFile.write(
                file.license(),
                bundle != null ? bundle.text() : file.keys(),
                list != null ? list.text() : file.status());
        Verdict verdict = Verdict.of(claims, outcome, changesAt, now);
        return new Answer(verdict, memory.toText(), licenseFile,
                bundle == null ? null : bundle.text(), list == null ? null : list.text(),
                statusUri);
    }

    /** Throws if the license was signed out of the key's time, or is for another app. */
    private void check(Claims claims, Key key) throws Rejection {
        if (!key.isInTime(claims.iat())) throw new Rejection(Code.KEY_NOT_VALID);
        if (!claims.aud().equals(audience)) throw new Rejection(Code.WRONG_AUDIENCE);
        if (issuer != null && !claims.iss().equals(issuer)) {
            throw new Rejection(Code.WRONG_ISSUER);
        }
    }

    /** Returns when the list is too old, 0 if it is missing, or null if its age does not matter. */
    private Long staleFrom(Claims.Status reference, StatusList list) {
        if (maxStatusAge == null || reference == null) return null;
        return list == null ? 0 : list.iat() + maxStatusAge + 1;
    }

    /** Returns the usable bundle with the highest {@code seq}; the first of several. */
    private Bundle bestBundle(List<Companions> given, Memory before, long now) {
        Bundle best = null;
        if (trust.root == null) return null;
        for (Companions texts : given) {
            if (texts.keys() == null) continue;
            Bundle bundle = Bundle.open(texts.keys(), trust.root, now);
            long lowest = best == null ? before.keysSeq() : best.seq() + 1;
            if (bundle != null && bundle.seq() >= lowest) best = bundle;
        }
        return best;
    }

    /** Returns the usable list with the latest {@code iat}; the first of several. */
    private static StatusList bestList(
            List<Companions> given, Claims.Status reference, KeySet keys, Memory before) {
        StatusList best = null;
        for (Companions texts : given) {
            if (texts.status() == null) continue;
            StatusList list = StatusList.open(texts.status(), keys, reference);
            long earliest = best == null ? before.listIat(reference.uri()) : best.iat() + 1;
            if (list != null && list.iat() >= earliest) best = list;
        }
        return best;
    }
}
