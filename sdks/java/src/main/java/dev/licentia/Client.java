package dev.licentia;

import java.io.IOException;
import java.net.URI;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/**
 * Keeps the license of an app in a store, and refreshes it online.
 *
 * <p>Only signed documents decide. What the server says about a license leads to fetching the key
 * bundle or the status list that proves it; an answer alone neither extends nor ends a license.
 */
public final class Client {
    /** The largest response to a refresh: a license and a bundle, and some members more. */
    private static final int MAX_RESPONSE_BYTES = 256 * 1024;
    private static final Duration DAY = Duration.ofDays(1);
    /**
     * The longest time without a verdict. Timers stand still while a laptop sleeps, and do not see
     * that the clock was set.
     */
    private static final Duration HOUR = Duration.ofHours(1);
    /** The first and the longest wait after a failed refresh. It doubles each time. */
    private static final Duration MIN_BACKOFF = Duration.ofMinutes(1);
    private static final Duration MAX_BACKOFF = Duration.ofHours(1);

    private final Verifier verifier;
    private final String server;
    private final Store store;
    private final Clock clock;
    private final Http http = new Http();

    /**
     * Returns the client of an app.
     *
     * @param server the address of the vendor's server, as {@code https://licenses.acme.example};
     *     {@code http} only on this machine
     * @throws IllegalArgumentException for another address: the license is a credential
     */
    public Client(Verifier verifier, String server, Store store) {
        this(verifier, server, store, Clock.systemUTC());
    }

    /** Returns a client with another clock than that of the system, for the tests of an app. */
    public Client(Verifier verifier, String server, Store store, Clock clock) {
        if (!isSecure(server)) {
            throw new IllegalArgumentException(server + " is not an https address");
        }
        this.verifier = verifier;
        this.server = server.replaceAll("/+$", "");
        this.store = store;
        this.clock = clock;
    }

    private static boolean isSecure(String server) {
        URI uri = URI.create(server);
        boolean isLocal = uri.getHost() != null
                && List.of("localhost", "127.0.0.1", "[::1]").contains(uri.getHost());
        return "https".equals(uri.getScheme()) && uri.getHost() != null
                || "http".equals(uri.getScheme()) && isLocal;
    }

    /** Returns the verdict about the stored license, without the network. */
    public Verdict verify() throws IOException {
        return store(Evidence.of(null)).verdict;
    }

    /** Stores a license or a {@code license.json}, as {@link #install(Evidence)} does. */
    public Verdict install(String license) throws IOException {
        return install(Evidence.of(license == null ? "" : license));
    }

    /**
     * Stores what the user pasted, opened or carried here, and returns the verdict about it. Of
     * what is given, it uses the license, {@code keys} and {@code status}; each may be null. A
     * license that does not work never replaces one that does. With a new license, the status list
     * is fetched, and the bundle if it is needed.
     */
    public Verdict install(Evidence given) throws IOException {
        if (given.license() == null) return store(given).verdict;
        // First, so that neither replaces the other: both may be newer than those in the store.
        if (given.keys() != null || given.status() != null) store(given.withLicense(null));
        Evidence evidence = besides(load()).withLicense(given.license());
        if (evidence.keys() == null) evidence = evidence.withKeys(given.keys());
        if (given.status() != null) evidence = evidence.withStatus(given.status());
        return store(complete(evidence, false)).verdict;
    }

    /** Asks the server for the newest license, bundle and status list, and stores them. */
    public Refresh refresh() throws IOException {
        Evidence stored = load();
        ServerAnswer answer = askServer(stored.license());
        Code refused = null;
        if (answer.license != null) {
            Evidence renewed = besides(stored).withLicense(answer.license);
            Stored result = store(complete(renewed, false));
            if (result.isStored) {
                return new Refresh(Outcome.RENEWED, result.verdict, null, null);
            }
            refused = result.verdict.code();
        }
        boolean isReachable = answer.code != null || answer.license != null;
        // A forged license is never renewed: only the bundle tells that its key was stolen.
        Evidence complete = isReachable ? complete(stored, true) : stored;
        Verdict verdict = store(complete.withLicense(null)).verdict;
        return refused == null
                ? new Refresh(answer.outcome, verdict, answer.code, answer.retryAfter)
                : new Refresh(Outcome.FAILED, verdict, refused.toString(), null);
    }

    /** A refresh in the background, until it is closed. */
    public interface Background extends AutoCloseable {
        @Override
        void close();
    }

    /**
     * Refreshes now, then daily and when the verdict changes. After a failure, and while the clock
     * seems wrong, it tries again after a minute, or later. It verifies at least once an hour. It
     * runs in a daemon thread.
     *
     * @param onChange called in that thread with the first verdict, and with each one that differs
     * @param onError called when a text cannot be stored, or {@code onChange} throws
     */
    public Background start(Consumer<Verdict> onChange, Consumer<Exception> onError) {
        ScheduledExecutorService executor = Executors.newSingleThreadScheduledExecutor(task -> {
            Thread thread = new Thread(task, "licentia-refresh");
            thread.setDaemon(true);
            return thread;
        });
        Loop loop = new Loop(executor::isShutdown, onChange, onError);
        executor.execute(new Runnable() {
            @Override
            public void run() {
                Duration wait = loop.wake();
                if (executor.isShutdown()) return;
                executor.schedule(this, wait.toMillis(), TimeUnit.MILLISECONDS);
            }
        });
        return executor::shutdownNow;
    }

    /** What the background does. It has no timer of its own. */
    final class Loop {
        private final BooleanSupplier isStopped;
        private final Consumer<Verdict> onChange;
        private final Consumer<Exception> onError;
        private Duration backoff = MIN_BACKOFF;
        /** The time until the next refresh, by the waits. */
        private Duration untilRefresh = Duration.ZERO;
        private Verdict last;

        Loop(BooleanSupplier isStopped, Consumer<Verdict> onChange, Consumer<Exception> onError) {
            this.isStopped = isStopped;
            this.onChange = onChange;
            this.onError = onError;
        }

        /** Verifies, and refreshes if it is time. Returns the time until it must wake again. */
        Duration wake() {
            Duration wait = HOUR;
            try {
                Verdict verdict = verify();
                boolean isNew = report(verdict);
                if (isNew || untilRefresh.compareTo(Duration.ZERO) <= 0) {
                    Refresh result = refresh();
                    untilRefresh = waitAfter(result);
                    verdict = result.verdict();
                    report(verdict);
                }
                wait = min(wait, untilRefresh);
                Long changesAt = verdict.changesAt();
                if (changesAt != null) wait = min(wait, Duration.ofSeconds(changesAt - now()));
            } catch (IOException | RuntimeException error) {
                onError.accept(error);
            }
            wait = max(wait, Duration.ofSeconds(1));
            untilRefresh = untilRefresh.minus(wait);
            return wait;
        }

        /** Returns whether the verdict differs from the last one. */
        private boolean report(Verdict verdict) {
            if (isStopped.getAsBoolean() || verdict.equals(last)) return false;
            last = verdict;
            onChange.accept(verdict);
            return true;
        }

        private Duration waitAfter(Refresh result) {
            Duration wait = DAY;
            if (result.shouldRetry()) {
                wait = max(backoff, result.retryAfter() == null ? backoff : result.retryAfter());
                backoff = min(backoff.multipliedBy(2), MAX_BACKOFF);
            } else {
                backoff = MIN_BACKOFF;
            }
            // A little later, at random, because many apps start in the same minute.
            return wait.plusMillis(ThreadLocalRandom.current().nextLong(wait.toMillis() / 10));
        }
    }

    private static Duration min(Duration one, Duration other) {
        return one.compareTo(other) < 0 ? one : other;
    }

    private static Duration max(Duration one, Duration other) {
        return one.compareTo(other) > 0 ? one : other;
    }

    private long now() {
        return clock.instant().getEpochSecond();
    }

    private Evidence load() throws IOException {
        String license = store.read(Store.Name.LICENSE);
        return Evidence.of(license).withMemory(store.read(Store.Name.MEMORY));
    }

    /** Returns the bundle, list and memory of what is stored, for another license. */
    private static Evidence besides(Evidence stored) {
        LicenseFile file = LicenseFile.parse(stored.license());
        return new Evidence(null, file.keys(), file.status(), stored.memory(), null);
    }

    private Answer verify(Evidence evidence) {
        return verifier.verify(evidence.at(now()));
    }

    /** Fetches the newest status list, and the bundle if it is needed or the key is unknown. */
    private Evidence complete(Evidence given, boolean needsBundle) {
        Evidence evidence = given;
        Answer answer = verify(evidence);
        // The file of an answer has the former bundle and list. The verifier takes the later ones.
        if (needsBundle || answer.verdict().code() == Code.UNKNOWN_KEY) {
            String url = server + "/.well-known/license-keys";
            Http.Response bundle = http.get(url, Jws.Kind.BUNDLE.maxBytes);
            if (bundle != null && bundle.status() == 200) {
                evidence = evidence.withLicense(answer.licenseFile()).withKeys(bundle.text());
                answer = verify(evidence);
            }
        }
        if (answer.statusUri() == null) return evidence;
        Http.Response list = http.get(answer.statusUri(), Jws.Kind.LIST.maxBytes);
        return list == null || list.status() != 200
                ? evidence
                : evidence.withLicense(answer.licenseFile()).withStatus(list.text());
    }

    private record Stored(Verdict verdict, boolean isStored) {}

    /**
     * Verifies a license, or the stored one with another bundle and list. Stores the memory, and
     * the license if it is valid, or genuine and there is no valid one. Two at once would lose a
     * change, so there is one at a time.
     */
    private synchronized Stored store(Evidence given) throws IOException {
        Evidence stored = load();
        String license = given.license() == null ? stored.license() : given.license();
        Answer answer = verify(given.withLicense(license).withMemory(stored.memory()));
        Verdict verdict = answer.verdict();
        boolean isGenuine = verdict.licenseId() != null;
        boolean isWorthIt = given.license() == null
                ? isGenuine || verdict.code() == Code.KEY_REVOKED
                : verdict.valid() || isGenuine && !verify(stored).verdict().valid();
        boolean isStored = isWorthIt && answer.licenseFile() != null;
        if (!answer.memory().equals(stored.memory())) {
            store.write(Store.Name.MEMORY, answer.memory());
        }
        if (isStored && !answer.licenseFile().equals(stored.license())) {
            store.write(Store.Name.LICENSE, answer.licenseFile());
        }
        return new Stored(verdict, isStored);
    }

    /** @param license the text of a {@code license.json}, when renewed; otherwise null */
    private record ServerAnswer(
            Outcome outcome, String license, String code, Duration retryAfter) {
        static ServerAnswer of(Outcome outcome) {
            return new ServerAnswer(outcome, null, null, null);
        }
    }

    private ServerAnswer askServer(String stored) {
        String license = LicenseFile.parse(stored).license();
        String token = license == null ? "" : Text.clean(license);
        if (!token.matches("[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+")) {
            return ServerAnswer.of(Outcome.UNKNOWN);
        }
        Http.Response response =
                http.post(server + "/api/licenses/refresh", MAX_RESPONSE_BYTES, token);
        return response == null ? ServerAnswer.of(Outcome.OFFLINE) : read(response);
    }

    private static ServerAnswer read(Http.Response response) {
        int status = response.status();
        Map<String, Object> members = Json.parseObject(response.text());
        if (members == null) members = Map.of();
        if (status == 200 && members.get("token") instanceof String token && !token.isEmpty()) {
            String keys = members.get("keys") instanceof String text ? text : null;
            return new ServerAnswer(
                    Outcome.RENEWED, LicenseFile.write(token, keys, null), null, null);
        }
        if (status == 429 || status >= 500) {
            return new ServerAnswer(Outcome.BUSY, null, null, response.retryAfter());
        }
        // Without a code, it is the page of a proxy or of a hotel's network.
        if (!(members.get("code") instanceof String code)) return ServerAnswer.of(Outcome.OFFLINE);
        return new ServerAnswer(outcome(status, code), null, code, response.retryAfter());
    }

    private static Outcome outcome(int status, String code) {
        return switch (code) {
            case "revoked", "key_revoked" -> Outcome.REVOKED;
            case "license_expired" -> Outcome.ENDED;
            default -> switch (status) {
                case 408, 409 -> Outcome.BUSY;
                case 401, 403 -> Outcome.UNKNOWN;
                default -> Outcome.FAILED;
            };
        };
    }
}
