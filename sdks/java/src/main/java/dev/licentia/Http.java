package dev.licentia;

import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodySubscriber;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;

/** Requests with a limit of time and size. */
final class Http {
    private static final long TIMEOUT_SECONDS = 15;
    private static final Duration MAX_RETRY_AFTER = Duration.ofDays(1);

    /** Follows no redirect: a license is a credential. */
    private final HttpClient strict = client(HttpClient.Redirect.NEVER);
    /** For lists and bundles, which are public and may have moved. */
    private final HttpClient following = client(HttpClient.Redirect.NORMAL);

    private static HttpClient client(HttpClient.Redirect redirect) {
        return HttpClient.newBuilder()
                .connectTimeout(Duration.ofSeconds(TIMEOUT_SECONDS))
                .followRedirects(redirect)
                .build();
    }

    /** @param retryAfter null if the server does not say */
    record Response(int status, String text, Duration retryAfter) {}

    /** Returns the response; null if there is none, or it is too large. */
    Response get(String url, int maxBytes) {
        return send(url, maxBytes, null);
    }

    /** Returns the response; null if there is none, or it is too large. */
    Response post(String url, int maxBytes, String bearer) {
        return send(url, maxBytes, bearer);
    }

    private Response send(String url, int maxBytes, String bearer) {
        try {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url));
            if (bearer != null) {
                request.header("Authorization", "Bearer " + bearer)
                        .POST(HttpRequest.BodyPublishers.noBody());
            }
            HttpResponse<byte[]> response = (bearer == null ? following : strict)
                    .sendAsync(request.build(), head -> new LimitedBody(maxBytes))
                    .orTimeout(TIMEOUT_SECONDS, TimeUnit.SECONDS)
                    .join();
            String text = response.body() == null ? null : Text.decodeUtf8(response.body());
            if (text == null) return null;
            String retryAfter = response.headers().firstValue("Retry-After").orElse(null);
            return new Response(response.statusCode(), text, parseRetryAfter(retryAfter));
        } catch (CompletionException | IllegalArgumentException error) {
            return null;
        }
    }

    /** Returns the time to wait, at most a day. The header has seconds, or a date. */
    static Duration parseRetryAfter(String header) {
        if (header == null) return null;
        Duration wait;
        try {
            wait = header.matches("[0-9]{1,9}")
                    ? Duration.ofSeconds(Long.parseLong(header))
                    : Duration.between(Instant.now(), ZonedDateTime.parse(
                            header, DateTimeFormatter.RFC_1123_DATE_TIME));
        } catch (DateTimeParseException error) {
            return null;
        }
        if (wait.isNegative()) return Duration.ZERO;
        return wait.compareTo(MAX_RETRY_AFTER) > 0 ? MAX_RETRY_AFTER : wait;
    }

    /** Collects a body. Its result is null, and it stops, when there are more than maxBytes. */
    private static final class LimitedBody implements BodySubscriber<byte[]> {
        private final CompletableFuture<byte[]> result = new CompletableFuture<>();
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        private final int maxBytes;
        private Flow.Subscription subscription;

        LimitedBody(int maxBytes) {
            this.maxBytes = maxBytes;
        }

        @Override
        public CompletionStage<byte[]> getBody() {
            return result;
        }

        @Override
        public void onSubscribe(Flow.Subscription subscription) {
            this.subscription = subscription;
            subscription.request(Long.MAX_VALUE);
        }

        @Override
        public void onNext(List<ByteBuffer> buffers) {
            for (ByteBuffer buffer : buffers) {
                byte[] chunk = new byte[buffer.remaining()];
                buffer.get(chunk);
                bytes.writeBytes(chunk);
            }
            if (bytes.size() > maxBytes) {
                subscription.cancel();
                result.complete(null);
            }
        }

        @Override
        public void onError(Throwable error) {
            result.completeExceptionally(error);
        }

        @Override
        public void onComplete() {
            result.complete(bytes.toByteArray());
        }
    }
}
