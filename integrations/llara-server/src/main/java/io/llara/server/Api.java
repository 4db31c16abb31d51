package io.llara.server;

import com.google.common.collect.ImmutableMap;
import com.google.common.hash.Hashing;
import com.google.common.io.Resources;
import com.google.common.net.InetAddresses;
import com.google.common.primitives.Ints;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.io.Messages;
import io.llara.server.ApiException.Problem;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicLong;
import org.eclipse.jetty.http.HttpException;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.io.Connection;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.server.Handler;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.Fields;
import org.eclipse.jetty.util.Promise;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Reads requests, finds out what they want, and writes answers. No thread waits in it. */
final class Api extends Handler.Abstract {
  private static final Logger LOG = LoggerFactory.getLogger(Api.class);

  private static final String JSON = "application/json";
  private static final String OTHER = "other";

  /** All bodies that are being read may take so much together. */
  private static final long MOST_BODY_BYTES = 256L << 20;

  private static final int DEFAULT_HITS = 10;
  private static final int MOST_HITS = 100;

  /** The files of the page, with their media types. */
  private static final ImmutableMap<String, String> PAGE =
      ImmutableMap.of(
          "/", "text/html; charset=utf-8",
          "/page.css", "text/css; charset=utf-8",
          "/page.js", "text/javascript; charset=utf-8");

  private static final Set<String> PATHS =
      Set.of(
          "/",
          "/page.css",
          "/page.js",
          "/health",
          "/metrics",
          "/info",
          "/v1/models",
          "/v1/embeddings",
          "/embed",
          "/search");

  /** The page is served to those who have yet to enter a key. */
  private static final Set<String> OPEN_PATHS = Set.of("/", "/page.css", "/page.js", "/health");

  private final Settings settings;
  private final Embedder embedder;
  private final Connections connections;
  private final Metrics metrics = new Metrics();
  private final AtomicLong bodyBytes = new AtomicLong();
  private volatile Optional<CorpusSearch> search = Optional.empty();
  private volatile boolean draining;

  /**
   * What the builder of a server collects.
   *
   * @param searches whether there is a collection, which may not be open yet
   * @param loopback the host, if other machines do not reach it
   */
  record Settings(
      Encoder encoder,
      String model,
      boolean truncates,
      Optional<String> apiKey,
      ServerLimits limits,
      boolean searches,
      Optional<String> loopback) {}

  /** What is sent. */
  private record Answer(int status, String media, byte[] body, int retryAfter) {
    static Answer ok(String media, byte[] body) {
      return new Answer(200, media, body, 0);
    }

    static Answer json(JsonObject json) {
      return ok(JSON, Dialect.bytes(json));
    }
  }

  Api(Settings settings, Connections connections) {
    this.settings = settings;
    this.embedder = new Embedder(settings.encoder(), settings.truncates(), settings.limits());
    this.connections = connections;
  }

  /** Searches the collection from now on. */
  void opened(CorpusSearch collection) {
    search = Optional.of(collection);
  }

  /** Tells clients from now on that their connections end. */
  void drain() {
    draining = true;
  }

  @Override
  public boolean handle(Request request, Response response, Callback callback) {
    long begin = System.nanoTime();
    String path = Request.getPathInContext(request);
    Dialect dialect = path.startsWith("/v1/") ? Dialect.OPENAI : Dialect.TEI;
    // A request may wait for longer than a connection may be idle.
    request.addIdleTimeoutListener(timeout -> false);
    connections.busy(connection(request));
    CompletableFuture<Answer> answer;
    try {
      answer = route(request, path);
    } catch (RuntimeException e) {
      answer = CompletableFuture.failedFuture(e);
    }
    answer
        .exceptionally(error -> refusal(dialect, error))
        .thenAccept(
            done -> {
              String counted = PATHS.contains(path) ? path : OTHER;
              metrics.answered(counted, done.status(), System.nanoTime() - begin);
              write(request, response, done, callback);
            })
        .exceptionally(
            error -> {
              callback.failed(error);
              return null;
            });
    return true;
  }

  private void write(Request request, Response response, Answer answer, Callback callback) {
    response.setStatus(answer.status());
    var headers = response.getHeaders();
    headers.put(HttpHeader.CONTENT_TYPE, answer.media());
    headers.put(HttpHeader.CONTENT_LENGTH, answer.body().length);
    headers.put("X-Content-Type-Options", "nosniff");
    if (answer.media().startsWith("text/html")) {
      headers.put(
          "Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'");
    }
    if (answer.retryAfter() > 0) {
      headers.put(HttpHeader.RETRY_AFTER, answer.retryAfter());
    }
    if (draining || answer.status() == Problem.TOO_LARGE.status) {
      headers.put(HttpHeader.CONNECTION, "close");
    }
    Connection connection = connection(request);
    connections.expect(connection);
    boolean head = request.getMethod().equals("HEAD");
    response.write(
        true,
        ByteBuffer.wrap(head ? new byte[0] : answer.body()),
        // First: once the answer is complete, the client's next request may come.
        Callback.from(() -> connections.rest(connection), callback));
  }

  private static Connection connection(Request request) {
    return request.getConnectionMetaData().getConnection();
  }

  private Answer refusal(Dialect dialect, Throwable error) {
    Throwable cause =
        error instanceof CompletionException && error.getCause() != null ? error.getCause() : error;
    ApiException refused = refused(cause);
    if (refused.problem() == Problem.FAILED) {
      LOG.warn("a request failed", cause);
    }
    return new Answer(
        refused.problem().status,
        JSON,
        dialect.error(refused.problem(), String.valueOf(refused.getMessage())),
        refused.retryAfter());
  }

  private static ApiException refused(Throwable cause) {
    if (cause instanceof ApiException api) {
      return api;
    }
    if (cause instanceof HttpException http && http.getCode() / 100 == 4) {
      return new ApiException(Problem.INVALID, "the request is malformed: " + http.getReason());
    }
    if (cause instanceof IOException io) {
      return new ApiException(Problem.INVALID, "the body ended early: " + Messages.reason(io));
    }
    // What the encoder says of a prompt of ids.
    if (cause instanceof IllegalArgumentException) {
      return new ApiException(Problem.INVALID, String.valueOf(cause.getMessage()));
    }
    if (cause instanceof IllegalStateException) {
      return new ApiException(Problem.UNAVAILABLE, String.valueOf(cause.getMessage()));
    }
    return new ApiException(
        Problem.FAILED,
        cause instanceof LlaraException ? String.valueOf(cause.getMessage()) : "it failed");
  }

  private CompletableFuture<Answer> route(Request request, String path) {
    requireHost(request);
    if (!OPEN_PATHS.contains(path)) {
      requireKey(request);
    }
    return switch (path) {
      case "/v1/embeddings" -> embed(request, Dialect.OPENAI);
      case "/embed" -> embed(request, Dialect.TEI);
      case "/search" -> search(request);
      case "/health" -> get(request, health());
      case "/metrics" ->
          get(
              request,
              Answer.ok(
                  "text/plain; version=0.0.4; charset=utf-8",
                  metrics.text(embedder, connections.count()).getBytes(StandardCharsets.UTF_8)));
      case "/info" -> get(request, Answer.json(info()));
      case "/v1/models" -> get(request, Answer.json(models()));
      default -> {
        if (path.equals("/v1/models/" + settings.model())) {
          yield get(request, Answer.json(model()));
        }
        String media = PAGE.get(path);
        if (media == null || !settings.searches()) {
          throw new ApiException(Problem.NOT_FOUND, "there is no " + Messages.quote(path));
        }
        yield get(request, Answer.ok(media, page(path)));
      }
    };
  }

  /**
   * A page of another site may reach this machine by a name of its own for it. So names are not
   * resolved: whoever owns one can make it this machine's for a moment.
   */
  private void requireHost(Request request) {
    String host = Request.getServerName(request);
    boolean own = settings.loopback().map(host::equalsIgnoreCase).orElse(true);
    if (!own && !isLoopback(host)) {
      throw new ApiException(
          Problem.FORBIDDEN, "this server answers to localhost, not to " + Messages.quote(host));
    }
  }

  private static boolean isLoopback(String host) {
    String address = host.startsWith("[") ? host.substring(1, host.length() - 1) : host;
    return host.equalsIgnoreCase("localhost")
        || InetAddresses.isInetAddress(address)
            && InetAddresses.forString(address).isLoopbackAddress();
  }

  private void requireKey(Request request) {
    if (settings.apiKey().isEmpty()) {
      return;
    }
    String given = request.getHeaders().get(HttpHeader.AUTHORIZATION);
    String expected = "Bearer " + settings.apiKey().get();
    // Hashes have one length: how long it takes says nothing about the key.
    if (given == null || !MessageDigest.isEqual(hash(given), hash(expected))) {
      throw new ApiException(
          Problem.UNAUTHORIZED,
          "the API key is %s; it is sent as the header 'Authorization: Bearer KEY'"
              .formatted(given == null ? "missing" : "wrong"));
    }
  }

  private static byte[] hash(String text) {
    return Hashing.sha256().hashString(text, StandardCharsets.UTF_8).asBytes();
  }

  private static CompletableFuture<Answer> get(Request request, Answer answer) {
    requireMethod(request, Set.of("GET", "HEAD"));
    return CompletableFuture.completedFuture(answer);
  }

  private static void requireMethod(Request request, Set<String> methods) {
    if (!methods.contains(request.getMethod())) {
      throw new ApiException(
          Problem.WRONG_METHOD,
          "the method is %s; expected %s"
              .formatted(Messages.quote(request.getMethod()), String.join(" or ", methods)));
    }
  }

  private CompletableFuture<Answer> embed(Request request, Dialect dialect) {
    requireMethod(request, Set.of("POST"));
    requireJson(request);
    return body(request)
        .thenCompose(
            body -> {
              EmbeddingRequest wanted = EmbeddingRequest.read(body, dialect, settings.limits());
              return embedder
                  .embed(wanted)
                  .thenApply(
                      result ->
                          Answer.ok(
                              JSON, dialect.answer(result, wanted.base64(), settings.model())));
            });
  }

  /** Forms of other sites' pages cannot send it. */
  private static void requireJson(Request request) {
    String type = String.valueOf(request.getHeaders().get(HttpHeader.CONTENT_TYPE));
    if (!type.toLowerCase(Locale.ROOT).startsWith(JSON)) {
      throw new ApiException(
          Problem.WRONG_MEDIA,
          "the content type is %s; expected %s".formatted(Messages.quote(type), JSON));
    }
  }

  private CompletableFuture<byte[]> body(Request request) {
    int limit = settings.limits().bodyBytes();
    long length = request.getLength();
    if (length > limit) {
      throw tooLarge(limit);
    }
    long room = length < 0 ? limit : length;
    if (bodyBytes.addAndGet(room) > MOST_BODY_BYTES) {
      bodyBytes.addAndGet(-room);
      throw new ApiException(Problem.OVERLOADED, "too many bodies are being read", 1);
    }
    Connection connection = connection(request);
    connections.expect(connection);
    CompletableFuture<byte[]> body = new CompletableFuture<>();
    // "Blocking", since what follows tokenises: not on the thread that serves all connections.
    Content.Source.asByteArrayAsync(
        new Request.Wrapper(request) {
          /** Jetty calls it once it has said that the body is too long, and the answer is sent. */
          @Override
          public void fail(Throwable failure) {}
        },
        limit,
        Promise.Invocable.from(
            InvocationType.BLOCKING, body::complete, body::completeExceptionally));
    return body.exceptionally(
            error -> {
              // Jetty's word for a body that is longer.
              throw error instanceof IllegalStateException
                  ? tooLarge(limit)
                  : new CompletionException(error);
            })
        .whenComplete(
            (done, error) -> {
              bodyBytes.addAndGet(-room);
              connections.busy(connection);
            });
  }

  private static ApiException tooLarge(int limit) {
    return new ApiException(
        Problem.TOO_LARGE, "the body is longer than %d bytes, the limit".formatted(limit));
  }

  private CompletableFuture<Answer> search(Request request) {
    requireMethod(request, Set.of("GET"));
    if (!settings.searches()) {
      throw new ApiException(Problem.NOT_FOUND, "this server has no collection");
    }
    CorpusSearch collection = search.orElseThrow(Api::notOpen);
    Fields parameters;
    try {
      parameters = Request.extractQueryParameters(request);
    } catch (IllegalArgumentException e) {
      throw new ApiException(Problem.INVALID, "the query string is malformed");
    }
    String text = Optional.ofNullable(parameters.getValue("q")).orElse("");
    if (text.isBlank() || text.length() > settings.limits().textCharacters()) {
      throw new ApiException(Problem.INVALID, "'q' is empty or too long");
    }
    int k = hits(parameters.getValue("k"));
    EmbeddingRequest query = EmbeddingRequest.ofQuery(text);
    CompletableFuture<Embedder.Result> next = embedder.embed(query, Mode.NEXT);
    return next.thenCombineAsync(
        embedder.embed(query, Mode.SELF),
        (asNext, asSelf) ->
            Answer.json(
                collection.search(
                    text,
                    ImmutableMap.of(
                        Mode.NEXT, asNext.vectors().get(0), Mode.SELF, asSelf.vectors().get(0)),
                    k)),
        getServer().getThreadPool());
  }

  private static int hits(@org.jspecify.annotations.Nullable String k) {
    if (k == null) {
      return DEFAULT_HITS;
    }
    Integer number = Ints.tryParse(k);
    if (number == null || number < 1 || number > MOST_HITS) {
      throw new ApiException(
          Problem.INVALID, "'k' is %s; expected 1 to %d".formatted(Messages.quote(k), MOST_HITS));
    }
    return number;
  }

  private Answer health() {
    if (draining) {
      throw new ApiException(Problem.UNAVAILABLE, "the server is stopping");
    }
    if (settings.searches() && search.isEmpty()) {
      throw notOpen();
    }
    return Answer.ok("text/plain", new byte[0]);
  }

  private static ApiException notOpen() {
    return new ApiException(Problem.UNAVAILABLE, "the collection is being encoded");
  }

  private JsonObject model() {
    JsonObject model = new JsonObject();
    model.addProperty("id", settings.model());
    model.addProperty("object", "model");
    model.addProperty("created", 0);
    model.addProperty("owned_by", "llara");
    return model;
  }

  private JsonObject models() {
    JsonArray list = new JsonArray();
    list.add(model());
    JsonObject models = new JsonObject();
    models.addProperty("object", "list");
    models.add("data", list);
    return models;
  }

  private JsonObject info() {
    Encoder encoder = settings.encoder();
    JsonObject pooling = new JsonObject();
    pooling.addProperty("pooling", encoder.template().pooling().name().toLowerCase(Locale.ROOT));
    JsonObject type = new JsonObject();
    type.add("embedding", pooling);
    JsonObject info = new JsonObject();
    info.addProperty("model_id", settings.model());
    info.addProperty("model_dtype", encoder.computeType().name().toLowerCase(Locale.ROOT));
    info.add("model_type", type);
    info.addProperty("dimension", encoder.dimension());
    info.addProperty("max_input_length", encoder.maxTokens());
    info.addProperty("max_client_batch_size", settings.limits().texts());
    info.addProperty("max_concurrent_requests", settings.limits().connections());
    info.addProperty("max_queued_tokens", settings.limits().queuedTokens());
    info.addProperty("auto_truncate", settings.truncates());
    info.addProperty(
        "version",
        Optional.ofNullable(Api.class.getPackage().getImplementationVersion())
            .orElse("development"));
    search.ifPresent(collection -> info.addProperty("documents", collection.size()));
    return info;
  }

  private static byte[] page(String path) {
    String file = path.equals("/") ? "page.html" : path.substring(1);
    try {
      return Resources.toByteArray(Resources.getResource(Api.class, file));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
