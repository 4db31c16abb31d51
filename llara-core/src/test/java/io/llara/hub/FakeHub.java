package io.llara.hub;

import com.google.common.hash.Hashing;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The hub's protocol for one model, on this machine: the hub is 127.0.0.1, and weights are
 * redirected to another server, on localhost.
 */
final class FakeHub implements AutoCloseable {
  static final String COMMIT = "0123456789abcdef0123456789abcdef01234567";

  final String repository;
  final Map<String, byte[]> files = new TreeMap<>();
  final List<Request> requests = new CopyOnWriteArrayList<>();

  /** What is answered to every request to the hub itself, if it is not 0, with this error code. */
  int refusal;

  String errorCode = "";

  /** How many downloads of weights are cut off, and after how many bytes. */
  int cuts;

  int cutAfter;

  /** Whether parts of weights can be asked for. */
  boolean ranges = true;

  /** What is sent as the tag of weights, in place of their hash, unless it is empty. */
  String wrongTag = "";

  String commit = COMMIT;

  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final HttpServer hub;
  private final HttpServer storage;

  /** What was asked. */
  record Request(
      boolean atHub, String method, String path, Optional<String> token, Optional<String> range) {}

  FakeHub(String repository) throws IOException {
    this.repository = repository;
    hub = server("127.0.0.1", this::answer);
    storage = server("localhost", this::store);
  }

  private interface Answer {
    void to(HttpExchange exchange) throws IOException;
  }

  private HttpServer server(String host, Answer answer) throws IOException {
    HttpServer server =
        HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
    server.setExecutor(threads);
    server.createContext(
        "/",
        exchange -> {
          requests.add(
              new Request(
                  host.equals("127.0.0.1"),
                  exchange.getRequestMethod(),
                  exchange.getRequestURI().getPath(),
                  header(exchange, "Authorization"),
                  header(exchange, "Range")));
          try (exchange) {
            answer.to(exchange);
          }
        });
    server.start();
    return server;
  }

  private static Optional<String> header(HttpExchange exchange, String name) {
    return Optional.ofNullable(exchange.getRequestHeaders().getFirst(name));
  }

  /** Offers the files of a folder. */
  FakeHub with(Path folder) throws IOException {
    try (Stream<Path> all = Files.list(folder)) {
      for (Path file : all.toList()) {
        files.put(file.getFileName().toString(), Files.readAllBytes(file));
      }
    }
    return this;
  }

  String endpoint() {
    return "http://127.0.0.1:" + hub.getAddress().getPort();
  }

  List<Request> storageRequests() {
    return requests.stream().filter(request -> !request.atHub()).toList();
  }

  private void answer(HttpExchange exchange) throws IOException {
    String path = exchange.getRequestURI().getPath();
    if (refusal != 0) {
      exchange.getResponseHeaders().add("X-Error-Code", errorCode);
      exchange.sendResponseHeaders(refusal, -1);
    } else if (path.startsWith("/api/models/old/name/")) {
      exchange
          .getResponseHeaders()
          .add("Location", path.replace("/old/name/", "/" + repository + "/"));
      exchange.sendResponseHeaders(307, -1);
    } else if (path.equals("/api/models/%s/revision/main".formatted(repository))
        || path.equals("/api/models/%s/revision/v1".formatted(repository))) {
      String siblings =
          files.keySet().stream()
              .map("{\"rfilename\": \"%s\"}"::formatted)
              .collect(Collectors.joining(", "));
      send(
          exchange,
          200,
          "{\"id\": \"%s\", \"sha\": \"%s\", \"siblings\": [%s]}"
              .formatted(repository, commit, siblings)
              .getBytes(StandardCharsets.UTF_8));
    } else {
      String name = path.substring(path.indexOf(commit) + commit.length() + 1);
      byte[] content = files.get(name);
      exchange.getResponseHeaders().add("X-Repo-Commit", commit);
      if (name.endsWith(".safetensors")) {
        String hash = Hashing.sha256().hashBytes(content).toString();
        exchange
            .getResponseHeaders()
            .add("X-Linked-Etag", "\"%s\"".formatted(wrongTag.isEmpty() ? hash : wrongTag));
        exchange.getResponseHeaders().add("X-Linked-Size", "" + content.length);
        exchange
            .getResponseHeaders()
            .add(
                "Location",
                "http://localhost:"
                    + storage.getAddress().getPort()
                    + "/%s?signature=secret".formatted(name));
        exchange.sendResponseHeaders(302, -1);
      } else {
        exchange.getResponseHeaders().add("ETag", "\"%s\"".formatted(gitHash(content)));
        send(exchange, 200, content);
      }
    }
  }

  @SuppressWarnings("deprecation") // Git's hash is what it is.
  static String gitHash(byte[] content) {
    return Hashing.sha1()
        .newHasher()
        .putString("blob " + content.length + "\0", StandardCharsets.UTF_8)
        .putBytes(content)
        .hash()
        .toString();
  }

  private static void send(HttpExchange exchange, int status, byte[] content) throws IOException {
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.getResponseHeaders().add("Content-Length", "" + content.length);
      exchange.sendResponseHeaders(status, -1);
      return;
    }
    exchange.sendResponseHeaders(status, content.length);
    exchange.getResponseBody().write(content);
  }

  private void store(HttpExchange exchange) throws IOException {
    byte[] content = files.get(exchange.getRequestURI().getPath().substring(1));
    String range = exchange.getRequestHeaders().getFirst("Range");
    int begin = 0;
    int status = 200;
    if (range != null && ranges) {
      begin = Integer.parseInt(range.replaceAll("\\D", ""));
      status = 206;
      exchange
          .getResponseHeaders()
          .add(
              "Content-Range",
              "bytes " + begin + "-" + (content.length - 1) + "/" + content.length);
    }
    byte[] rest = Arrays.copyOfRange(content, begin, content.length);
    exchange.sendResponseHeaders(status, rest.length);
    OutputStream body = exchange.getResponseBody();
    synchronized (this) {
      if (cuts > 0) {
        cuts--;
        body.write(rest, 0, Math.min(cutAfter, rest.length - 1));
        body.flush(); // Newer Javas drop what is buffered where an answer ends too early.
        return; // Closing ends the connection.
      }
    }
    body.write(rest);
  }

  @Override
  public void close() {
    hub.stop(0);
    storage.stop(0);
    threads.shutdownNow();
  }
}
