package dev.licentia;

import static dev.licentia.Signing.DAY;
import static dev.licentia.Signing.NOW;
import static dev.licentia.Signing.object;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.TimeUnit;

/** The tests, without a framework: {@code java dev.licentia.Tests VECTORS README}. */
public final class Tests {
    static final Signing ROOT = new Signing();
    static final Signing KEY = new Signing();
    static final Signing SUCCESSOR = new Signing();
    static final String REFRESH = "/api/licenses/refresh";
    static final String LIST = "/status/1";

    interface Test {
        void run() throws Exception;
    }

    private Tests() {}

    public static void main(String[] arguments) throws Exception {
        Path vectors = Path.of(arguments[0]);
        Path readme = Path.of(arguments[1]);
        Map<String, Test> tests = new LinkedHashMap<>();
        tests.put("each vector has the expected verdict", () -> equal(0, Main.vectors(vectors)));
        tests.put("text loses what mails add, and nothing else", Tests::text);
        tests.put("base64url is strict", Tests::base64url);
        tests.put("JSON that another parser could read differently is refused", Tests::json);
        tests.put("numbers are whole digits up to 2^53 - 1", Tests::numbers);
        tests.put("points of small order, off the curve, not canonical are no keys", Tests::points);
        tests.put("a license is active, and everything in it is in the verdict", Tests::verdict);
        tests.put("a list that is damaged, foreign or too large counts as not given", Tests::lists);
        tests.put("a file is replaced whole, or stays as it was", Tests::fileStore);
        tests.put("misuse by the developer throws", Tests::misuse);
        tests.put("each verdict has a message", Tests::message);
        tests.put("a license is stored, refreshed, and used by the next start", Tests::client);
        tests.put("each response has its outcome, and none loses the license", Tests::outcomes);
        tests.put("the bundle and the status list are fetched", Tests::fetched);
        tests.put("the status list of a pasted license is fetched", Tests::fetchedForInstall);
        tests.put("a file that is no license is not touched", Tests::noLicense);
        tests.put("the background refreshes until it is closed", Tests::background);
        tests.put("a refresh is tried again while the clock seems wrong", Tests::wrongClock);
        tests.put("the background verifies each hour, and refreshes in time", Tests::hourly);
        tests.put("a server that is down is asked less often each time", Tests::backoff);
        ClientTests.addTo(tests);
        tests.put("an app survives 40 days offline, a rotated key, and wrong clocks", Tests::story);
        tests.put("the README's code runs", () -> readme(readme));
        int failed = 0;
        for (Map.Entry<String, Test> test : tests.entrySet()) {
            try {
                test.getValue().run();
                System.out.println("ok   " + test.getKey());
            } catch (Exception | AssertionError error) {
                failed++;
                System.out.println("FAIL " + test.getKey());
                error.printStackTrace(System.out);
            }
        }
        System.out.println((tests.size() - failed) + " passed, " + failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }

    static void equal(Object expected, Object got) {
        if (!Objects.equals(expected, got)) {
            throw new AssertionError("expected " + expected + ", got " + got);
        }
    }

    private static void text() {
        equal("a.b.c", Text.clean("\uFEFF \t„“a.b.c”“\u00A0\r\n\u200B"));
        equal("a.b.c", Text.clean("'\" a.b \r\n \u00A0\n .c\" '"));
        equal("a. b.c", Text.clean("a. b.c"));
        equal("`a`", Text.clean("```a```"));
        equal("\"", Text.clean("\""));
        equal("ab", Text.clean("a" + " \n".repeat(500_000) + "b"));
    }

    private static void base64url() {
        for (int length = 0; length < 70; length++) {
            byte[] bytes = new byte[length];
            for (int at = 0; at < length; at++) bytes[at] = (byte) (at * 37 + length);
            equal(true, Arrays.equals(bytes, Text.decodeBase64url(Text.encodeBase64url(bytes))));
        }
        for (String text : List.of("A", "AAAAA", "AA==", "AB", "AAB", "A+AA", "AA\n", "AÄ")) {
            equal(null, Text.decodeBase64url(text));
        }
    }

    private static void json() {
        List<String> refused = List.of(
                "", "null", "[]", "{", "{}x", "\uFEFF{}", "{\"a\":1,\"a\":1}",
                "{\"a\":1,\"\\u0061\":2}", "{\"a\":1,}", "{\"a\":[1,]}", "{\"a\" 1}", "{a:1}",
                "{\"a\":\"\\ud800\"}", "{\"\\udc00\":1}", "{\"a\":\"\t\"}", "{\"a\":\"\\x\"}",
                "{\"a\":\"\\u00g0\"}", "{\"a\":\"\\u٠٠٦١\"}", "{\"a\":tru}", "{\"a\":1 2}",
                "{\"a\":\"b", "{\"a\":{\"b\":1,\"b\":1}}", "{\"a\":" + "[".repeat(100_000),
                "{\"a\":" + "[".repeat(64) + "]".repeat(64) + "}");
        for (String text : refused) equal(null, Json.parseObject(text));
        Map<String, Object> expected = object("a", List.of(), "b", "😀\n/é", "c", true, "d", null);
        equal(expected, Json.parseObject(
                " {\"a\" : [ ] , \"b\":\"\\ud83d\\ude00\\n\\/\\u00e9\","
                        + "\"c\":true,\"d\":null}\r\n"));
        String deep = "{\"a\":" + "[".repeat(63) + "]".repeat(63) + "}";
        equal(true, Json.parseObject(deep) != null);
        equal(expected, Json.parseObject(Json.write(expected)));
    }

    private static void numbers() {
        equal(object("n", Json.MAX_NUMBER), Json.parseObject("{\"n\":9007199254740991}"));
        for (String text : List.of(
                "1.0", "1E3", "-0", "-1", "1e400", "9007199254740992", "9".repeat(5_000))) {
            equal(Json.OTHER_NUMBER, Json.parseObject("{\"n\":" + text + "}").get("n"));
        }
        for (String text : List.of("01", "+1", "1.", ".5", "NaN", "1e", "-", "0x1")) {
            equal(null, Json.parseObject("{\"n\":" + text + "}"));
        }
    }

    private static void points() {
        String zeros = "00".repeat(31);
        String ones = "ff".repeat(30);
        List<String> unusable = List.of(
                "01" + zeros, "01" + "00".repeat(30) + "80", "ec" + ones + "7f", "ec" + ones + "ff",
                "00" + zeros, "00" + "00".repeat(30) + "80",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
                "ed" + ones + "7f", "ee" + ones + "7f", "f0" + ones + "7f", "ff" + ones + "ff",
                "02" + zeros, "03", "");
        HexFormat hex = HexFormat.of();
        for (String text : unusable) equal(false, Ed25519.isUsablePoint(hex.parseHex(text)));
        equal(true, Ed25519.isUsablePoint(hex.parseHex("03" + zeros)));
        equal(true, Ed25519.isUsablePoint(hex.parseHex(
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")));
    }

    private static void verdict() {
        Answer answer = Verifier.of(Trust.jwks(KEY.jwks()), "acme-app")
                .verify(Evidence.of(KEY.license()).at(NOW));
        equal(new Verdict(true, State.ACTIVE, null, List.of("editor", "export"),
                Map.of("seats", 5L), "professional", false, "cust_1", "lic_1", null, false,
                NOW + 14 * DAY), answer.verdict());
        equal(true, answer.verdict().allows("export"));
        equal(5L, answer.verdict().limit("seats"));
        equal(null, answer.verdict().limit("projects"));
        equal("{\"v\":1,\"time\":" + NOW + ",\"signed\":" + (NOW - 60)
                + ",\"keys_seq\":0,\"seq\":{\"cust_1\":1},\"lists\":{}}", answer.memory());
    }

    private static void lists() {
        Verifier verifier = Verifier.of(Trust.jwks(KEY.jwks()), "acme-app").withMaxStatusAge(DAY);
        String uri = "https://acme.example/1";
        Evidence evidence = Evidence.of(KEY.license("status", status(uri))).at(NOW);
        byte[] whole = Signing.deflate(new byte[1 << 17]);
        byte[] damaged = whole.clone();
        damaged[damaged.length - 1] ^= 1;
        Map<String, Code> codes = new LinkedHashMap<>();
        codes.put(KEY.list(uri, 8), null);
        codes.put(KEY.list(uri, 9), Code.REVOKED);
        codes.put(KEY.list(uri, whole), null);
        codes.put(KEY.list(uri + "0", 8), Code.STALE_STATUS);
        codes.put(SUCCESSOR.list(uri, 8), Code.STALE_STATUS);
        codes.put(KEY.list(uri, Signing.deflate(new byte[1])), Code.STALE_STATUS);
        codes.put(KEY.list(uri, Signing.deflate(new byte[(1 << 17) + 1])), Code.STALE_STATUS);
        codes.put(KEY.list(uri, Signing.deflate(new byte[50_000_000])), Code.STALE_STATUS);
        codes.put(KEY.list(uri, Arrays.copyOf(whole, whole.length - 1)), Code.STALE_STATUS);
        codes.put(KEY.list(uri, Arrays.copyOf(whole, whole.length + 1)), Code.STALE_STATUS);
        codes.put(KEY.list(uri, damaged), Code.STALE_STATUS);
        codes.put("", Code.STALE_STATUS);
        codes.forEach((list, code) ->
                equal(code, verifier.verify(evidence.withStatus(list)).verdict().code()));
        Evidence tomorrow = evidence.withStatus(KEY.list(uri, 8)).at(NOW + DAY);
        Map<Long, Code> ages = new LinkedHashMap<>();
        ages.put(null, null);
        ages.put(Long.MAX_VALUE, null);
        ages.put(2 * DAY, null);
        ages.put(0L, Code.STALE_STATUS);
        ages.put(-1L, Code.STALE_STATUS);
        ages.put(Long.MIN_VALUE, Code.STALE_STATUS);
        ages.forEach((age, code) ->
                equal(code, verifier.withMaxStatusAge(age).verify(tomorrow).verdict().code()));
    }

    private static void fileStore() throws Exception {
        Path folder = Files.createTempDirectory("licentia");
        try {
            FileStore store = new FileStore(folder.resolve("acme"));
            equal(null, store.read(Store.Name.LICENSE));
            for (String text : List.of("é".repeat(100_000), "short", "")) {
                store.write(Store.Name.LICENSE, text);
                equal(text, store.read(Store.Name.LICENSE));
            }
            // The move fails, because a folder is in the way.
            Path blocked = folder.resolve("acme").resolve(Store.Name.MEMORY.fileName());
            Files.createDirectories(blocked.resolve("x"));
            try {
                store.write(Store.Name.MEMORY, "lost");
                throw new AssertionError("a folder was replaced");
            } catch (IOException expected) {
                equal("", store.read(Store.Name.LICENSE));
            }
            try (var entries = Files.list(folder.resolve("acme"))) {
                equal(2L, entries.count());
            }
        } finally {
            delete(folder);
        }
    }

    static Map<String, Object> status(String uri) {
        return object("status_list", object("idx", 9L, "uri", uri));
    }

    private static void misuse() {
        String weak = KEY.root().replace(KEY.x, "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        List<Runnable> misuses = List.of(
                () -> Trust.root(null), () -> Trust.root("[]"), () -> Trust.root(weak),
                () -> Trust.root(KEY.root().replace("\"kty\"", "\"d\":\"x\",\"kty\"")),
                () -> Trust.jwks("{\"keys\":[]}"), () -> Trust.jwks("{\"keys\":[" + weak + "]}"),
                () -> Trust.jwks("{\"keys\":[" + KEY.root() + "," + KEY.root() + "]}"),
                () -> Verifier.of(null, "acme-app"), () -> newClient("http://a.example"),
                () -> newClient("ftp://a.example"), () -> newClient("x"), () -> newClient(""),
                () -> Verifier.of(Trust.root(KEY.root()), ""));
        for (Runnable misuse : misuses) {
            try {
                misuse.run();
            } catch (IllegalArgumentException expected) {
                continue;
            }
            throw new AssertionError("accepted");
        }
    }

    private static Client newClient(String server) {
        Verifier verifier = Verifier.of(Trust.root(KEY.root()), "acme-app");
        return new Client(verifier, server, new FileStore(Path.of("unused")));
    }

    private static void message() {
        Claims claims = null;
        for (Code code : Code.values()) {
            Verdict verdict = Verdict.of(claims, Judge.Outcome.invalid(code), null, NOW);
            equal(false, Message.of(verdict).isEmpty());
            equal(code.name().toLowerCase(), verdict.toMap().get("code"));
        }
    }

    /** A client with its own folder, and a clock that the test sets. */
    static final class App implements AutoCloseable {
        final FakeServer server = new FakeServer();
        final Path folder = Files.createTempDirectory("licentia");
        volatile long now = NOW;

        App() throws Exception {}

        Client client() {
            return client(new FileStore(folder), null);
        }

        Client client(Store store, Long maxStatusAge) {
            Clock clock = new Clock() {
                @Override
                public Instant instant() {
                    return Instant.ofEpochSecond(now);
                }

                @Override
                public ZoneId getZone() {
                    return ZoneOffset.UTC;
                }

                @Override
                public Clock withZone(ZoneId zone) {
                    return this;
                }
            };
            Verifier verifier = Verifier.of(Trust.root(ROOT.root()), "acme-app")
                    .withMaxStatusAge(maxStatusAge);
            return new Client(verifier, server.url() + "/", store, clock);
        }

        /** Returns a license that is signed now. */
        String issue(Signing by, Object... changed) {
            List<Object> claims = new ArrayList<>(Arrays.asList(
                    "iat", now - 60, "nbf", now - 60, "exp", now + 14 * DAY,
                    "license_expires", now + 30 * DAY, "warn_days", 3L,
                    "on_end", object("mode", "limited", "features", List.of("viewer"))));
            claims.addAll(Arrays.asList(changed));
            return by.license(claims.toArray());
        }

        void renew(String token, String keys) throws Exception {
            server.reply(REFRESH, 200, Json.write(object("token", token, "keys", keys)));
            equal(Outcome.RENEWED, client().refresh().outcome());
            expect(State.ACTIVE, null, false);
        }

        /** Checks the verdict of the next start of the app, offline. */
        void expect(State state, Code code, boolean warn) throws Exception {
            Verdict verdict = client().verify();
            equal(state, verdict.state());
            equal(code, verdict.code());
            equal(warn, verdict.warn());
        }

        Client installed() throws Exception {
            Client client = client();
            String file = LicenseFile.write(KEY.license(), ROOT.bundle(KEY), null);
            equal(State.ACTIVE, client.install(file).state());
            return client;
        }

        @Override
        public void close() throws IOException {
            server.close();
            delete(folder);
        }
    }

    static void delete(Path folder) throws IOException {
        List<Path> paths;
        try (var entries = Files.walk(folder)) {
            paths = new ArrayList<>(entries.toList());
        }
        for (int at = paths.size() - 1; at >= 0; at--) Files.delete(paths.get(at));
    }

    private static void client() throws Exception {
        try (App app = new App()) {
            equal(Code.MALFORMED, app.client().verify().code());
            equal(Outcome.UNKNOWN, app.client().refresh().outcome());
            Client client = app.installed();
            app.now += 40 * DAY;
            equal(Code.LICENSE_EXPIRED, client.verify().code());
            String token = SUCCESSOR.license("iat", app.now - 60, "nbf", app.now - 60,
                    "exp", app.now + 14 * DAY, "license_expires", null, "seq", 2L);
            app.server.reply(REFRESH, 200, Json.write(object(
                    "token", token, "plan", "x", "keys", ROOT.bundle(KEY, SUCCESSOR))));
            Refresh result = client.refresh();
            equal(Outcome.RENEWED, result.outcome());
            equal(State.ACTIVE, result.verdict().state());
            equal(List.of("Bearer " + KEY.license()), app.server.credentials);
            equal(app.now + 14 * DAY, app.client().verify().changesAt());
            try (var entries = Files.list(app.folder)) {
                equal(2L, entries.count());
            }
            for (String text : List.of("", "x", new Signing().license(), KEY.license("aud", "b"))) {
                equal(false, client.install(text).valid());
                equal(State.ACTIVE, client.verify().state());
            }
        }
    }

    private static void outcomes() throws Exception {
        try (App app = new App()) {
            Client client = app.installed();
            Map<FakeServer.Reply, Refresh> expected = new LinkedHashMap<>();
            expect(expected, FakeServer.problem(403, "license_expired", null), Outcome.ENDED, null);
            expect(expected, FakeServer.problem(403, "revoked", null), Outcome.REVOKED, null);
            expect(expected, FakeServer.problem(401, "unauthenticated", null),
                    Outcome.UNKNOWN, null);
            expect(expected, FakeServer.problem(403, "reset_required", null),
                    Outcome.UNKNOWN, null);
            expect(expected, FakeServer.problem(400, "invalid_request", null),
                    Outcome.FAILED, null);
            expect(expected, FakeServer.problem(409, "idempotency_running", null),
                    Outcome.BUSY, null);
            expect(expected, FakeServer.problem(429, "rate_limited", "120"), Outcome.BUSY, 120L);
            expect(expected, FakeServer.problem(503, "busy", "999999999"), Outcome.BUSY, DAY);
            expect(expected, FakeServer.problem(503, "busy", "Mon, 01 Jan 2001 00:00:00 GMT"),
                    Outcome.BUSY, 0L);
            expect(expected, FakeServer.problem(503, "busy", "soon"), Outcome.BUSY, null);
            for (int status : List.of(200, 403)) {
                expect(expected, new FakeServer.Reply(status, "<html>Log in</html>", null),
                        Outcome.OFFLINE, null);
            }
            expect(expected, new FakeServer.Reply(200, "x".repeat(300_000), null),
                    Outcome.OFFLINE, null);
            String forged = Json.write(object("token", new Signing().license()));
            expect(expected, new FakeServer.Reply(200, forged, null), Outcome.FAILED, null);
            for (Map.Entry<FakeServer.Reply, Refresh> entry : expected.entrySet()) {
                app.server.replies.put(REFRESH, entry.getKey());
                Refresh result = client.refresh();
                equal(entry.getValue().outcome(), result.outcome());
                equal(entry.getValue().retryAfter(), result.retryAfter());
                equal(State.ACTIVE, result.verdict().state());
            }
            app.server.close();
            equal(Outcome.OFFLINE, client.refresh().outcome());
        }
    }

    private static void expect(Map<FakeServer.Reply, Refresh> expected,
            FakeServer.Reply reply, Outcome outcome, Long retryAfter) {
        Duration wait = retryAfter == null ? null : Duration.ofSeconds(retryAfter);
        expected.put(reply, new Refresh(outcome, null, null, wait));
    }

    private static void fetchedForInstall() throws Exception {
        try (App app = new App()) {
            Client client = app.installed();
            String uri = app.server.url() + LIST;
            String named = KEY.license("status", status(uri), "jti", "lic_2", "seq", 2L);
            app.server.reply(LIST, 200, KEY.list(uri, 9));
            equal(Code.REVOKED, client.install(named).code());
            equal("lic_1", client.verify().licenseId());
        }
        // The latest of the lists that are given, in the file, and fetched counts.
        for (int latest = 0; latest < 3; latest++) {
            try (App app = new App()) {
                String uri = app.server.url() + LIST;
                List<String> lists = new ArrayList<>();
                for (int source = 0; source < 3; source++) {
                    lists.add(source == latest
                            ? KEY.list(uri, 9, NOW - 1) : KEY.list(uri, 8, NOW - 60));
                }
                app.server.reply(LIST, 200, lists.get(0));
                String file = LicenseFile.write(
                        KEY.license("status", status(uri)), ROOT.bundle(KEY), lists.get(1));
                Evidence given = Evidence.of(file).withStatus(lists.get(2));
                equal(Code.REVOKED, app.client().install(given).code());
            }
        }
    }

    private static void fetched() throws Exception {
        try (App app = new App()) {
            Client client = app.client();
            String uri = app.server.url() + LIST;
            app.server.reply("/.well-known/license-keys", 200, ROOT.bundle(KEY));
            equal(State.ACTIVE, client.install(KEY.license("status", status(uri))).state());
            app.server.replies.put(REFRESH, FakeServer.problem(403, "revoked", null));
            app.server.reply(LIST, 200, KEY.list(uri, 9));
            equal(Code.REVOKED, client.refresh().verdict().code());
            equal(Code.REVOKED, app.client().verify().code());
            // A forged license is not renewed, so the bundle tells that its key was stolen.
            app.server.reply("/.well-known/license-keys", 200, ROOT.revocation(KEY.kid));
            equal(Code.KEY_REVOKED, client.refresh().verdict().code());
            equal(Code.KEY_REVOKED, app.client().verify().code());
        }
    }

    private static void noLicense() throws Exception {
        try (App app = new App()) {
            Path file = Files.writeString(app.folder.resolve("license.json"), "hello\nworld");
            equal(Code.MALFORMED, app.client().verify().code());
            equal(Outcome.UNKNOWN, app.client().refresh().outcome());
            equal("hello\nworld", Files.readString(file));
        }
    }

    private static void background() throws Exception {
        try (App app = new App()) {
            Client client = app.installed();
            String token = KEY.license("exp", NOW + 1, "seq", 2L, "plan", "upgraded");
            app.server.reply(REFRESH, 200, Json.write(object("token", token)));
            SynchronousQueue<Object> results = new SynchronousQueue<>();
            Client.Background background = client.start(verdict -> {
                try {
                    results.put(verdict.plan());
                } catch (InterruptedException error) {
                    Thread.currentThread().interrupt();
                }
            }, error -> results.offer(error));
            equal("professional", results.poll(60, TimeUnit.SECONDS));
            equal("upgraded", results.poll(60, TimeUnit.SECONDS));
            // The verdict changes in a second, so the second refresh follows then.
            String next = KEY.license("seq", 3L, "plan", "next");
            app.server.reply(REFRESH, 200, Json.write(object("token", next)));
            app.now = NOW + 1;
            equal("upgraded", results.poll(60, TimeUnit.SECONDS));
            equal("next", results.poll(60, TimeUnit.SECONDS));
            background.close();
        }
    }

    private static void wrongClock() throws Exception {
        try (App app = new App()) {
            Client client = app.installed();
            // The clock was a year ahead, and is right again. The server has signed nothing later.
            app.now += 365 * DAY;
            client.verify();
            app.now -= 365 * DAY;
            app.server.reply(REFRESH, 200, Json.write(object("token", KEY.license())));
            Refresh refresh = client.refresh();
            equal(Code.CLOCK_ROLLED_BACK, refresh.verdict().code());
            equal(true, refresh.shouldRetry());
            String later = KEY.license("iat", NOW - 59, "nbf", NOW - 59);
            app.server.reply(REFRESH, 200, Json.write(object("token", later)));
            refresh = client.refresh();
            equal(State.ACTIVE, refresh.verdict().state());
            equal(false, refresh.shouldRetry());
            // The clock is too slow.
            app.now -= DAY;
            refresh = client.refresh();
            equal(Outcome.RENEWED, refresh.outcome());
            equal(Code.NOT_YET_VALID, refresh.verdict().code());
            equal(true, refresh.shouldRetry());
        }
    }

    /** The life of an app in the field: from the trial to a revocation on a USB stick. */
    private static void story() throws Exception {
        try (App app = new App()) {
            String firstKeys = ROOT.bundle(KEY);
            String trial = app.issue(KEY, "trial", true, "license_expires", NOW + 14 * DAY);
            app.client().install(LicenseFile.write(trial, firstKeys, null));
            app.expect(State.ACTIVE, null, false);
            app.now += 12 * DAY;
            app.expect(State.ACTIVE, null, true);
            app.now += 2 * DAY;
            app.expect(State.LIMITED, Code.LICENSE_EXPIRED, true);

            // The customer buys. The app notices at the next refresh.
            app.renew(app.issue(KEY, "seq", 2L), firstKeys);
            // 40 days offline, on a journey. Meanwhile, the vendor has replaced the key.
            app.now += 40 * DAY;
            app.expect(State.LIMITED, Code.LICENSE_EXPIRED, true);
            String uri = "https://licenses.acme.example/status/1";
            String keys = ROOT.bundle(KEY, SUCCESSOR);
            app.renew(app.issue(SUCCESSOR, "seq", 3L, "status", status(uri)), keys);

            // A clock that is set back stops the app until it is right again.
            app.now += 10 * DAY;
            app.expect(State.ACTIVE, null, false);
            app.now -= 9 * DAY;
            app.expect(null, Code.CLOCK_ROLLED_BACK, false);
            app.now += 9 * DAY;
            app.expect(State.ACTIVE, null, false);
            // A clock that was ahead by mistake, and is right again, is healed by a refresh.
            app.now += 300 * DAY;
            app.expect(State.LIMITED, Code.LICENSE_EXPIRED, true);
            app.now -= 300 * DAY;
            app.expect(null, Code.CLOCK_ROLLED_BACK, false);
            String healing = app.issue(SUCCESSOR, "seq", 4L, "status", status(uri));
            app.renew(healing, keys);

            // The vendor revokes the license. A colleague carries the list on a USB stick.
            String list = SUCCESSOR.list(uri, 9);
            equal(Code.REVOKED, app.client().install(Evidence.none().withStatus(list)).code());
            app.expect(null, Code.REVOKED, false);
        }
    }

    private static void hourly() throws Exception {
        try (App app = new App()) {
            Client client = app.installed();
            String token = KEY.license("seq", 2L);
            app.server.reply(REFRESH, 200, Json.write(object("token", token)));
            List<Object> codes = new ArrayList<>();
            Client.Loop loop = client.new Loop(
                    () -> false, verdict -> codes.add(verdict.code()), codes::add,
                    Duration.ofDays(1));
            Duration hour = Duration.ofHours(1);
            Duration passed = Duration.ZERO;
            do {
                Duration wait = loop.wake();
                equal(true, wait.compareTo(hour) <= 0);
                passed = passed.plus(wait);
            } while (passed.compareTo(Duration.ofDays(1)) < 0);
            equal(1, app.server.credentials.size());
            // The timer stands still while the device sleeps, and the clock does not.
            app.now = NOW + 14 * DAY;
            equal(true, loop.wake().compareTo(hour) <= 0);
            equal(2, app.server.credentials.size());
            // The clock is set back.
            app.now = NOW;
            equal(true, loop.wake().compareTo(hour) <= 0);
            equal(Arrays.asList(null, Code.TOKEN_EXPIRED, Code.CLOCK_ROLLED_BACK), codes);
        }
    }

    private static void backoff() throws Exception {
        try (App app = new App()) {
            Client client = app.installed();
            app.server.replies.put(REFRESH, FakeServer.problem(503, "busy", "5"));
            Client.Loop loop = client.new Loop(
                    () -> false, verdict -> {}, error -> { throw new AssertionError(error); },
                    Duration.ofDays(1));
            for (long least : List.of(60L, 120L, 240L, 480L)) {
                long seconds = loop.wake().toSeconds();
                equal(true, least <= seconds && seconds <= least * 11 / 10);
            }
        }
    }

    /** Compiles and runs the README's code in an empty folder, against a local server. */
    private static void readme(Path readme) throws Exception {
        String[] parts = Files.readString(readme).split("```java\n");
        equal(3, parts.length);
        String app = parts[1].substring(0, parts[1].indexOf("```"));
        String statements = parts[2].substring(0, parts[2].indexOf("```"));
        Path folder = Files.createTempDirectory("licentia");
        try (FakeServer server = new FakeServer()) {
            long now = Instant.now().getEpochSecond();
            String uri = server.url() + LIST;
            String keys = ROOT.bundle(KEY);
            String token = KEY.license("iat", now - 60, "nbf", now - 60, "exp", now + 14 * DAY,
                    "license_expires", now + 30 * DAY, "status", status(uri));
            server.reply(REFRESH, 200, Json.write(object("token", token, "keys", keys)));
            Files.writeString(folder.resolve("root.jwk"), ROOT.root());
            String file = LicenseFile.write(token, keys, null);
            Files.writeString(folder.resolve("license.json"), file);
            app = app.replace("https://licenses.acme.example", server.url());
            // Installed the first time, and stored the second time.
            for (int attempt = 0; attempt < 2; attempt++) {
                String output = run(folder, "App.java", app);
                equal("Export for 5 seats.\nThe license is active\n", output);
            }
            // The last statements import what was carried to another machine. Its list is by a key
            // that only the carried bundle has.
            server.replies.clear();
            Path usb = Files.createDirectory(folder.resolve("usb"));
            Files.writeString(usb.resolve("license.json"), file);
            Files.writeString(usb.resolve("license-keys.jwt"), ROOT.bundle(KEY, SUCCESSOR));
            Files.writeString(
                    usb.resolve("license-status-1.jwt"), SUCCESSOR.list(uri + "0", 9, now));
            Files.writeString(usb.resolve("license-status-2.jwt"), SUCCESSOR.list(uri, 9, now));
            String body = statements.replace("/media/usb", "usb");
            equal("revoked\n", run(folder, "Usb.java", """
                    import dev.licentia.*;
                    import java.nio.file.Files;
                    import java.nio.file.Path;

                    public class Usb {
                        public static void main(String[] arguments) throws Exception {
                            Trust trust = Trust.root(Files.readString(Path.of("root.jwk")));
                            Client client = new Client(Verifier.of(trust, "acme-app"),
                                    "http://127.0.0.1:1", new FileStore(Path.of("elsewhere")));
                            %s
                            System.out.println(client.verify().code());
                        }
                    }
                    """.formatted(body)));
        } finally {
            delete(folder);
        }
    }

    /** Writes a class into a folder, and returns what it prints there. */
    private static String run(Path folder, String name, String code) throws IOException {
        Files.writeString(folder.resolve(name), code);
        Process process = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-classpath", System.getProperty("java.class.path"), name)
                .directory(folder.toFile()).redirectErrorStream(true).start();
        return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
}
