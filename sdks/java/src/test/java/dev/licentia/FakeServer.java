package dev.licentia;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** A licensing server that gives the responses that a test sets, and keeps the credentials. */
final class FakeServer implements AutoCloseable {
    /** @param retryAfter may be null */
    record Reply(int status, String body, String retryAfter) {}

    final Map<String, Reply> replies = new ConcurrentHashMap<>();
    /** Called instead of a reply. */
    final Map<String, Callable<Reply>> calls = new ConcurrentHashMap<>();
    final List<String> credentials = new CopyOnWriteArrayList<>();
    private final HttpServer server;
    private final ExecutorService threads = Executors.newCachedThreadPool();

    FakeServer() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", exchange -> {
            String credential = exchange.getRequestHeaders().getFirst("Authorization");
            if (credential != null) credentials.add(credential);
            Reply reply = replyTo(exchange.getRequestURI().getPath());
            if (reply.retryAfter != null) {
                exchange.getResponseHeaders().set("Retry-After", reply.retryAfter);
            }
            byte[] body = reply.body.getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(reply.status, body.length == 0 ? -1 : body.length);
            try (var output = exchange.getResponseBody()) {
                output.write(body);
            }
        });
        server.setExecutor(threads);
        server.start();
    }

    private Reply replyTo(String path) {
        try {
            Callable<Reply> call = calls.get(path);
            if (call != null) return call.call();
        } catch (Exception error) {
            throw new AssertionError(error);
        }
        return replies.getOrDefault(path, problem(404, "not_found", null));
    }

    String url() {
        InetSocketAddress address = server.getAddress();
        return "http://" + address.getAddress().getHostAddress() + ":" + address.getPort();
    }

    void reply(String path, int status, String body) {
        replies.put(path, new Reply(status, body, null));
    }

    static Reply problem(int status, String code, String retryAfter) {
        String body = Json.write(Signing.object("status", (long) status, "code", code));
        return new Reply(status, body, retryAfter);
    }

    @Override
    public void close() {
        server.stop(0);
        threads.shutdown();
    }
}
