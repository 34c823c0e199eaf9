package dev.licentia;

import java.io.IOException;
import java.net.URI;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
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
    public synchronized Verdict verify() throws IOException {
        Stored stored = Stored.load(store);
        Answer answer = examine(stored, Offer.NOTHING);
        stored.saveMemory(store, answer);
        return answer.verdict();
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
        Offer offer = new Offer(
                given.license(), List.of(new Companions(given.keys(), given.status())));
        if (given.license() != null) offer = complete(offer, false);
        return install(offer, null).verdict;
    }

    /** Asks the server for the newest license, bundle and status list, and stores them. */
    public Refresh refresh() throws IOException {
        String sent = Stored.load(store).token();
        ServerAnswer answer = askServer(sent);
        Code refused = null;
        if (answer.license != null) {
            Offer renewed =
                    new Offer(answer.license, List.of(new Companions(answer.keys, null)));
            Installed result = install(complete(renewed, false), sent);
            if (result.isStored) {
                return new Refresh(Outcome.RENEWED, result.verdict, null, null);
            }
            refused = result.verdict.code();
        }
        boolean isReachable = answer.code != null || answer.license != null;
        // A forged license is never renewed: only the bundle tells that its key was stolen.
        Offer proof = isReachable ? complete(Offer.NOTHING, true) : Offer.NOTHING;
        Verdict verdict = install(proof, null).verdict;
        return refused == null
                ? new Refresh(answer.outcome, verdict, answer.code, answer.retryAfter)
                : new Refresh(Outcome.FAILED, verdict, refused.toString(), null);
    }

    /** A refresh in the background, until it is closed. */
    public interface Background extends AutoCloseable {
        @Override
        void close();
    }

    /** Refreshes daily, as {@link #start(Consumer, Consumer, Duration)} does. */
    public Background start(Consumer<Verdict> onChange, Consumer<Exception> onError) {
        return start(onChange, onError, DAY);
    }

    /**
     * Refreshes now, regularly, and when the verdict changes. While the license is not active, it
     * refreshes every hour. After a failure, and while the clock seems wrong, it tries again after
     * a minute, or later. It verifies at least once an hour. It runs in a daemon thread.
     *
     * @param onChange called in that thread with the first verdict, and with each one that differs
     * @param onError called when a text cannot be stored, or {@code onChange} throws
     * @param every the time between two refreshes; an app with a status list that may not be two
     *     days old needs less than a day
     */
    public Background start(
            Consumer<Verdict> onChange, Consumer<Exception> onError, Duration every) {
        ScheduledExecutorService executor = Executors.newSingleThreadScheduledExecutor(task -> {
            Thread thread = new Thread(task, "licentia-refresh");
            thread.setDaemon(true);
            return thread;
        });
        Loop loop = new Loop(executor::isShutdown, onChange, onError, every);
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
        private final Duration every;
        private Duration backoff = MIN_BACKOFF;
        /** The time until the next refresh, by the waits. */
        private Duration untilRefresh = Duration.ZERO;
        private Verdict last;

        Loop(BooleanSupplier isStopped, Consumer<Verdict> onChange, Consumer<Exception> onError,
                Duration every) {
            this.isStopped = isStopped;
            this.onChange = onChange;
            this.onError = onError;
            this.every = every;
        }

        /** Verifies, and refreshes if it is time. Returns the time until it must wake again. */
        Duration wake() {
            Duration wait = HOUR;
            try {
                Verdict verdict = verify();
                if (report(verdict)) untilRefresh = Duration.ZERO;
                if (untilRefresh.compareTo(Duration.ZERO) <= 0) {
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
            try {
                onChange.accept(verdict);
            } catch (RuntimeException error) { // a fault of the app must not delay a refresh
                onError.accept(error);
            }
            return true;
        }

        private Duration waitAfter(Refresh result) {
            // A payment may arrive at any time, and brings a license that is active again.
            boolean isActive = result.verdict().state() == State.ACTIVE;
            Duration wait = isActive ? every : min(every, HOUR);
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

    /**
     * A license, with the bundles and lists that came with it or were fetched.
     *
     * @param license null: none
     */
    private record Offer(String license, List<Companions> companions) {
        static final Offer NOTHING = new Offer(null, List.of());

        Offer with(String keys, String status) {
            List<Companions> more = new ArrayList<>(companions);
            more.add(new Companions(keys, status));
            return new Offer(license, more);
        }
    }

    /** Verifies the license that is offered, or else the stored one. */
    private Answer examine(Stored stored, Offer offer) {
        String license = offer.license == null ? stored.license() : offer.license;
        return examine(stored, offer, license);
    }

    /** Verifies a license. All bundles and lists that are offered or stored take part. */
    private Answer examine(Stored stored, Offer offer, String license) {
        List<Companions> all = new ArrayList<>(offer.companions);
        all.add(stored.beside());
        all.add(LicenseFile.parse(stored.license()).companions());
        all.add(LicenseFile.parse(offer.license).companions());
        return verifier.verify(
                Evidence.of(license).withMemory(stored.memory()).at(now()), all);
    }

    /** Adds the newest status list, and the bundle if it is needed or the key is unknown. */
    private Offer complete(Offer given, boolean needsBundle) throws IOException {
        Offer offer = given;
        Answer answer = examine(Stored.load(store), offer);
        if (needsBundle || answer.verdict().code() == Code.UNKNOWN_KEY) {
            String url = server + "/.well-known/license-keys";
            offer = offer.with(fetch(url, Jws.Kind.BUNDLE.maxBytes), null);
            answer = examine(Stored.load(store), offer);
        }
        if (answer.statusUri() == null) return offer;
        return offer.with(null, fetch(answer.statusUri(), Jws.Kind.LIST.maxBytes));
    }

    /** Returns a public document; null if it cannot be fetched. */
    private String fetch(String url, int maxBytes) {
        Http.Response response = http.get(url, maxBytes);
        return response == null || response.status() != 200 ? null : response.text();
    }

    private record Installed(Verdict verdict, boolean isStored) {}

    /**
     * Stores the license that is offered if it is valid, or genuine and there is no valid one; and
     * the bundle and the list that count. Two at once would lose a change, so there is one at a
     * time.
     *
     * @param sent the license that the server has answered to, or null. Only that one is replaced.
     *     If another one was installed meanwhile, that one is kept.
     */
    private synchronized Installed install(Offer given, String sent) throws IOException {
        Stored stored = Stored.load(store);
        boolean isCurrent = sent == null || sent.equals(stored.token());
        Offer offer = isCurrent ? given : new Offer(null, given.companions);
        Answer offered = examine(stored, offer);
        Answer kept = offered;
        boolean isStored = offer.license == null || offered.verdict().valid();
        if (!isStored) {
            // The memory of the first answer counts the bundle and the list of the offered
            // license, although it is not kept.
            Stored beside = stored.withMemory(offered.memory());
            Answer current = examine(beside, offer, stored.license());
            isStored = isGenuine(offered) && !current.verdict().valid();
            if (!isStored) kept = current;
        }
        if (isGenuine(kept) || kept.verdict().code() == Code.KEY_REVOKED) {
            stored.saveLicense(store, kept);
        }
        stored.saveMemory(store, kept);
        return new Installed(offered.verdict(), isStored);
    }

    private static boolean isGenuine(Answer answer) {
        return answer.verdict().licenseId() != null;
    }

    /**
     * @param license the license token, when renewed; otherwise null
     * @param keys the bundle that came with it, or null
     */
    private record ServerAnswer(
            Outcome outcome, String license, String keys, String code, Duration retryAfter) {
        static ServerAnswer of(Outcome outcome) {
            return new ServerAnswer(outcome, null, null, null, null);
        }
    }

    private ServerAnswer askServer(String token) {
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
            return new ServerAnswer(Outcome.RENEWED, token, keys, null, null);
        }
        if (status == 429 || status >= 500) {
            return new ServerAnswer(Outcome.BUSY, null, null, null, response.retryAfter());
        }
        // Without a code, it is the page of a proxy or of a hotel's network.
        if (!(members.get("code") instanceof String code)) return ServerAnswer.of(Outcome.OFFLINE);
        return new ServerAnswer(outcome(status, code), null, null, code, response.retryAfter());
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
