package dev.licentia;

import dev.licentia.RefreshResult.Outcome;
import java.io.IOException;
import java.time.Clock;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** Stores the license of an app, refreshes it online, and returns the verdict about it. */
public final class LicenseClient {
    /** The largest response to a refresh: a license and a bundle, and some members more. */
    private static final int MAX_RESPONSE_BYTES = 256 * 1024;
    private static final Duration DAY = Duration.ofDays(1);
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
     * @param server the address of the vendor's server, as {@code https://licenses.acme.example}
     */
    public LicenseClient(Verifier verifier, String server, Store store) {
        this(verifier, server, store, Clock.systemUTC());
    }

    LicenseClient(Verifier verifier, String server, Store store, Clock clock) {
        this.verifier = verifier;
        this.server = server.replaceAll("/+$", "");
        this.store = store;
        this.clock = clock;
    }

    /** Returns the verdict about the stored license, offline. */
    public Verdict verdict() throws IOException {
        return store(new Evidence(null, null, null, null, null)).verdict;
    }

    /**
     * Returns the verdict about a license that the user has entered: a token, or a {@code
     * license.json}. Stores it if it is valid, or genuine and there is no valid one.
     */
    public Verdict install(String license) throws IOException {
        return store(complete(besides(load()).withLicense(license), false)).verdict;
    }

    /** Asks the server for the newest license, bundle and status list, and stores them. */
    public RefreshResult refresh() throws IOException {
        Evidence stored = load();
        ServerAnswer answer = askServer(stored.license());
        if (answer.license != null) {
            Evidence renewed = besides(stored).withLicense(answer.license);
            Stored result = store(complete(renewed, false));
            if (result.isStored) {
                return new RefreshResult(answer.outcome, result.verdict, answer.retryAfter);
            }
        }
        boolean isReachable =
                answer.outcome != Outcome.OFFLINE && answer.outcome != Outcome.NO_LICENSE;
        // A forged license is never renewed: only the bundle tells that its key was stolen.
        Evidence complete = isReachable ? complete(stored, true) : stored;
        Verdict verdict = store(complete.withLicense(null)).verdict;
        Outcome outcome = answer.license == null ? answer.outcome : Outcome.REJECTED;
        return new RefreshResult(outcome, verdict, answer.retryAfter);
    }

    /** A refresh in the background, until it is closed. */
    public interface Background extends AutoCloseable {
        @Override
        void close();
    }

    /**
     * Refreshes now, then daily and when the verdict would change. After a failure, it tries again
     * after a minute, or later. It runs in a daemon thread.
     *
     * @param onResult called after each refresh, in that thread
     * @param onError called when a text cannot be stored, or {@code onResult} throws
     */
    public Background start(Consumer<RefreshResult> onResult, Consumer<Exception> onError) {
        ScheduledExecutorService executor = Executors.newSingleThreadScheduledExecutor(task -> {
            Thread thread = new Thread(task, "licentia-refresh");
            thread.setDaemon(true);
            return thread;
        });
        executor.execute(new Loop(executor, onResult, onError));
        return executor::shutdownNow;
    }

    private final class Loop implements Runnable {
        private final ScheduledExecutorService executor;
        private final Consumer<RefreshResult> onResult;
        private final Consumer<Exception> onError;
        private Duration backoff = MIN_BACKOFF;

        Loop(ScheduledExecutorService executor, Consumer<RefreshResult> onResult,
                Consumer<Exception> onError) {
            this.executor = executor;
            this.onResult = onResult;
            this.onError = onError;
        }

        @Override
        public void run() {
            Duration wait = MAX_BACKOFF;
            try {
                RefreshResult result = refresh();
                wait = waitAfter(result);
                if (!executor.isShutdown()) onResult.accept(result);
            } catch (IOException | RuntimeException error) {
                onError.accept(error);
            }
            if (!executor.isShutdown()) {
                executor.schedule(this, wait.toMillis(), TimeUnit.MILLISECONDS);
            }
        }

        private Duration waitAfter(RefreshResult result) {
            Duration wait = DAY;
            if (result.hasFailed()) {
                wait = max(backoff, result.retryAfter() == null ? backoff : result.retryAfter());
                backoff = min(backoff.multipliedBy(2), MAX_BACKOFF);
            } else {
                backoff = MIN_BACKOFF;
            }
            // A little later, at random, because many apps start in the same minute.
            wait = wait.plusMillis(ThreadLocalRandom.current().nextLong(wait.toMillis() / 10));
            Long changesAt = result.verdict().changesAt();
            if (changesAt == null) return wait;
            return max(min(wait, Duration.ofSeconds(changesAt - now())), Duration.ofSeconds(1));
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
    private record ServerAnswer(Outcome outcome, String license, Duration retryAfter) {
        static ServerAnswer of(Outcome outcome) {
            return new ServerAnswer(outcome, null, null);
        }
    }

    private ServerAnswer askServer(String stored) {
        String license = LicenseFile.parse(stored).license();
        String token = license == null ? "" : Text.clean(license);
        if (!token.matches("[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+")) {
            return ServerAnswer.of(Outcome.NO_LICENSE);
        }
        Http.Response response =
                http.post(server + "/api/licenses/refresh", MAX_RESPONSE_BYTES, token);
        return response == null ? ServerAnswer.of(Outcome.OFFLINE) : read(response);
    }

    private static ServerAnswer read(Http.Response response) {
        ServerAnswer busy = new ServerAnswer(Outcome.BUSY, null, response.retryAfter());
        int status = response.status();
        if (status == 429 || status >= 500) return busy;
        Map<String, Object> members = Json.parseObject(response.text());
        if (members == null) return ServerAnswer.of(Outcome.OFFLINE);
        if (status == 200 && members.get("token") instanceof String token) {
            String keys = members.get("keys") instanceof String text ? text : null;
            return new ServerAnswer(Outcome.RENEWED, LicenseFile.write(token, keys, null), null);
        }
        // Without a code, it is the page of a proxy or of a hotel's network.
        if (!(members.get("code") instanceof String code)) return ServerAnswer.of(Outcome.OFFLINE);
        if (status == 408 || status == 409) return busy;
        if (code.equals("revoked") || code.equals("key_revoked")) {
            return ServerAnswer.of(Outcome.REVOKED);
        }
        return ServerAnswer.of(status == 403 ? Outcome.ENDED : Outcome.UNKNOWN);
    }
}
