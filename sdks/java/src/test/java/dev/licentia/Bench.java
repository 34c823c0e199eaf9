package dev.licentia;

import java.security.PublicKey;
import java.util.Map;

/** Measures verifications per second, next to a signature check alone. */
public final class Bench {
    private static final long NANOSECONDS = 2_000_000_000L;

    private Bench() {}

    public static void main(String[] arguments) throws Exception {
        Signing root = new Signing();
        Signing key = new Signing();
        String uri = "https://licenses.acme.example/status/1";
        Map<String, Object> list = Signing.object("idx", 9L, "uri", uri);
        String license = key.license("status", Signing.object("status_list", list));
        Verifier pinned = Verifier.of(Trust.jwks(key.jwks()), "acme-app");
        Verifier rooted = Verifier.of(Trust.root(root.root()), "acme-app");
        Evidence alone = Evidence.of(license).at(Signing.NOW);
        Evidence bundled = alone.withKeys(root.bundle(key));
        Evidence listed = bundled.withStatus(key.list(uri, 8));
        Jws jws = Jws.parse(license, Jws.Kind.LICENSE);
        PublicKey publicKey = Key.read(key.jwk());
        measure("signature alone", () -> Ed25519.verify(publicKey, jws.signature(), jws.signed()));
        measure("license", () -> pinned.verify(alone));
        measure("license and bundle", () -> rooted.verify(bundled));
        measure("license, bundle and list", () -> rooted.verify(listed));
    }

    private static void measure(String name, Runnable operation) {
        for (int warmUp = 0; warmUp < 500; warmUp++) operation.run();
        long start = System.nanoTime();
        long count = 0;
        for (; System.nanoTime() - start < NANOSECONDS; count++) operation.run();
        System.out.println(name + ": " + count * 1_000_000_000L / NANOSECONDS + " per second");
    }
}
