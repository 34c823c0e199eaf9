package dev.licentia;

import static dev.licentia.Signing.DAY;
import static dev.licentia.Signing.NOW;
import static dev.licentia.Signing.object;
import static dev.licentia.Tests.KEY;
import static dev.licentia.Tests.LIST;
import static dev.licentia.Tests.REFRESH;
import static dev.licentia.Tests.ROOT;
import static dev.licentia.Tests.SUCCESSOR;
import static dev.licentia.Tests.equal;
import static dev.licentia.Tests.status;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;

/** Tests about what a client stores, and when it refreshes. */
final class ClientTests {
    private static final String KEYS = ROOT.bundle(KEY);
    private static final String NEWER_KEYS = ROOT.bundle(KEY, SUCCESSOR);

    private ClientTests() {}

    static void addTo(Map<String, Tests.Test> tests) {
        tests.put("an app verifies while the list of a refresh is under way",
                ClientTests::underWay);
        tests.put("an app that is killed while it stores works offline", ClientTests::killed);
        tests.put("processes on one folder never lose the bundle", ClientTests::processes);
        tests.put("the newest bundle counts, before the license or after it", ClientTests::orders);
        tests.put("a license that is installed during a refresh is kept", ClientTests::installed);
        tests.put("a license that is deleted during a refresh stays away", ClientTests::deleted);
        tests.put("an app that throws in its callback delays no refresh", ClientTests::thrown);
        tests.put("the background refreshes when the verdict changes", ClientTests::changes);
        tests.put("the background refreshes hourly while the license is not active",
                ClientTests::notActive);
        tests.put("a license that has ended gets the newest list too", ClientTests::endedList);
    }

    /** Another process of the writing app: {@code ROOT SERVER FOLDER}. */
    public static void main(String[] arguments) throws IOException {
        Clock clock = Clock.fixed(Instant.ofEpochSecond(NOW), ZoneOffset.UTC);
        Verifier verifier = Verifier.of(Trust.root(arguments[0]), "acme-app");
        Client client = new Client(
                verifier, arguments[1], new FileStore(Path.of(arguments[2])), clock);
        for (int at = 0; at < 40; at++) client.refresh();
    }

    private static String named(Tests.App app, Signing by, Object... changed) {
        List<Object> claims =
                new ArrayList<>(List.of("status", status(app.server.url() + LIST)));
        claims.addAll(Arrays.asList(changed));
        return by.license(claims.toArray());
    }

    /** Installs a license. The next refresh brings one by another key, with another bundle. */
    private static String prepare(Tests.App app) throws IOException {
        String token = named(app, KEY);
        equal(State.ACTIVE, app.client().install(LicenseFile.write(token, KEYS, null)).state());
        String renewed = named(app, SUCCESSOR, "plan", "enterprise", "seq", 2L);
        app.server.replies.put(REFRESH, renewal(renewed, NEWER_KEYS));
        return token;
    }

    private static FakeServer.Reply renewal(String token, String keys) {
        return new FakeServer.Reply(200, Json.write(object("token", token, "keys", keys)), null);
    }

    private static FakeServer.Reply list(Tests.App app, long issuedAt) {
        String list = KEY.list(app.server.url() + LIST, 8, issuedAt);
        return new FakeServer.Reply(200, list, null);
    }

    private static void underWay() throws Exception {
        try (Tests.App app = new Tests.App()) {
            String token = prepare(app);
            List<State> states = new ArrayList<>();
            app.server.calls.put(LIST, () -> {
                states.add(app.client().verify().state()); // as another process does
                return list(app, NOW);
            });
            equal(Outcome.RENEWED, app.client().refresh().outcome());
            app.client().install(token);
            equal(List.of(State.ACTIVE, State.ACTIVE), states);
        }
    }

    /** A store whose process is killed after some texts are written. */
    private record DyingStore(Store store, int[] left) implements Store {
        @Override
        public String read(Name name) throws IOException {
            return store.read(name);
        }

        @Override
        public void write(Name name, String text) throws IOException {
            if (left[0]-- == 0) throw new IOException("killed");
            store.write(name, text);
        }
    }

    private static void killed() throws Exception {
        for (int written = 0; written < 3; written++) {
            try (Tests.App app = new Tests.App()) {
                prepare(app);
                app.server.replies.put(LIST, list(app, NOW));
                Store store = new FileStore(app.folder);
                try {
                    app.client(new DyingStore(store, new int[] {written}), null).refresh();
                    equal(2, written);
                } catch (IOException killed) {
                    equal("killed", killed.getMessage());
                }
                equal(State.ACTIVE, app.client().verify().state());
                Code expected = written == 0 ? Code.STALE_STATUS : null;
                equal(expected, app.client(store, DAY).verify().code());
            }
        }
    }

    private static void processes() throws Exception {
        try (Tests.App app = new Tests.App()) {
            prepare(app);
            AtomicLong seq = new AtomicLong(1);
            app.server.calls.put(REFRESH, () -> {
                long next = seq.incrementAndGet();
                return renewal(named(app, KEY, "seq", next), ROOT.bundle(next, KEY));
            });
            List<Process> writers = new ArrayList<>();
            for (int at = 0; at < 2; at++) {
                writers.add(new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-classpath", System.getProperty("java.class.path"),
                        ClientTests.class.getName(),
                        ROOT.root(), app.server.url(), app.folder.toString())
                        .inheritIO().start());
            }
            Client reader = app.client();
            Set<Code> codes = new HashSet<>();
            while (writers.stream().anyMatch(Process::isAlive)) codes.add(reader.verify().code());
            for (Process writer : writers) equal(0, writer.waitFor());
            Set<Code> none = new HashSet<>();
            none.add(null);
            equal(none, codes);
            equal(State.ACTIVE, app.client().verify().state());
        }
    }

    private static void orders() throws Exception {
        for (boolean keysComeFirst : List.of(true, false)) {
            try (Tests.App app = new Tests.App()) {
                String file = LicenseFile.write(KEY.license(), KEYS, null);
                Evidence keys = Evidence.none().withKeys(NEWER_KEYS);
                if (keysComeFirst) {
                    equal(Code.MALFORMED, app.client().install(keys).code());
                    equal(Code.MALFORMED, app.client().install(keys).code());
                    equal(State.ACTIVE, app.client().install(file).state());
                } else {
                    equal(State.ACTIVE, app.client().install(file).state());
                    equal(State.ACTIVE, app.client().install(keys).state());
                }
                equal(State.ACTIVE, app.client().verify().state());
                equal(State.ACTIVE, app.client().install(SUCCESSOR.license()).state());
            }
        }
    }

    private static void installed() throws Exception {
        try (Tests.App app = new Tests.App()) {
            prepare(app);
            String paid = named(app, KEY, "plan", "paid", "jti", "lic_2", "seq", 2L);
            FakeServer.Reply renewal = app.server.replies.get(REFRESH);
            app.server.calls.put(REFRESH, () -> {
                app.client().install(paid);
                return renewal;
            });
            Refresh result = app.client().refresh();
            equal(Outcome.RENEWED, result.outcome());
            equal("paid", result.verdict().plan());
            String file = Files.readString(app.folder.resolve("license.json"));
            equal(paid, LicenseFile.parse(file).license());
            equal(NEWER_KEYS, LicenseFile.parse(file).keys());
        }
    }

    private static void thrown() throws Exception {
        try (Tests.App app = new Tests.App()) {
            prepare(app);
            List<String> errors = new ArrayList<>();
            Client.Loop loop = app.client().new Loop(() -> false, verdict -> {
                throw new IllegalStateException("of the app");
            }, error -> errors.add(error.getMessage()), Duration.ofDays(1));
            loop.wake();
            equal(1, app.server.credentials.size());
            equal(true, !errors.isEmpty() && errors.stream().allMatch("of the app"::equals));
        }
    }

    private static void deleted() throws Exception {
        try (Tests.App app = new Tests.App()) {
            prepare(app);
            Path file = app.folder.resolve("license.json");
            FakeServer.Reply renewal = app.server.replies.get(REFRESH);
            app.server.calls.put(REFRESH, () -> {
                Files.delete(file);
                return renewal;
            });
            equal(Code.MALFORMED, app.client().refresh().verdict().code());
            equal(false, Files.exists(file));
        }
    }

    private static void changes() throws Exception {
        try (Tests.App app = new Tests.App()) {
            String token = prepare(app);
            app.server.replies.put(REFRESH, renewal(token, KEYS));
            app.server.replies.put(LIST, list(app, NOW));
            Client client = app.client(new FileStore(app.folder), 60L);
            List<Object> codes = new ArrayList<>();
            Client.Loop loop = client.new Loop(() -> false,
                    verdict -> codes.add(verdict.code()), codes::add, Duration.ofDays(1));
            equal(Duration.ofSeconds(61), loop.wake());
            app.now += 61;
            app.server.replies.put(LIST, list(app, app.now));
            loop.wake();
            equal(Arrays.asList(Code.STALE_STATUS, null, Code.STALE_STATUS, null), codes);
        }
    }

    private static void notActive() throws Exception {
        List<Object> ended = List.of("license_expires", NOW - 1);
        notActive("grace", NOW, "license_expires", NOW - 1, "grace_until", NOW + DAY);
        notActive("overdue", NOW, "license_expires", NOW - 1, "on_end", object("mode", "warn"));
        notActive("limited", NOW, "license_expires", NOW - 1, "on_end", object("mode", "limited"));
        notActive("license_expired", NOW, ended.toArray());
        notActive("stale_status", NOW - 61);
    }

    private static void notActive(String expected, long listedAt, Object... changed)
            throws Exception {
        for (Duration every : List.of(Duration.ofDays(1), Duration.ofMinutes(10))) {
            try (Tests.App app = new Tests.App()) {
                String token = named(app, KEY, changed);
                app.server.replies.put(REFRESH, renewal(token, KEYS));
                app.server.replies.put(LIST, list(app, listedAt));
                Client client = app.client(new FileStore(app.folder), 60L);
                Map<String, Object> verdict =
                        client.install(LicenseFile.write(token, KEYS, null)).toMap();
                equal(expected, verdict.get("state") == null
                        ? verdict.get("code") : verdict.get("state"));
                Client.Loop loop = client.new Loop(() -> false, changes -> {},
                        error -> { throw new AssertionError(error); }, every);
                Duration passed = Duration.ZERO;
                for (Duration wait = loop.wake(); app.server.credentials.size() < 2;) {
                    passed = passed.plus(wait);
                    wait = loop.wake();
                }
                Duration least = every.compareTo(Duration.ofHours(1)) < 0
                        ? every : Duration.ofHours(1);
                equal(true, passed.compareTo(least) >= 0);
                equal(true, passed.compareTo(least.multipliedBy(12).dividedBy(10)) < 0);
            }
        }
    }

    private static void endedList() throws Exception {
        try (Tests.App app = new Tests.App()) {
            Client client = app.client(new FileStore(app.folder), 60L);
            String ended = named(app, KEY,
                    "license_expires", NOW - 1, "on_end", object("mode", "warn"));
            app.server.replies.put(LIST, list(app, NOW));
            String file = LicenseFile.write(ended, KEYS, null);
            equal(State.OVERDUE, client.install(file).state());
            app.now += 3_600;
            equal(Code.STALE_STATUS, client.verify().code());
            app.server.replies.put(LIST, list(app, app.now));
            app.server.replies.put(REFRESH, FakeServer.problem(403, "license_expired", null));
            Refresh result = client.refresh();
            equal(Outcome.ENDED, result.outcome());
            equal(State.OVERDUE, result.verdict().state());
        }
    }
}
