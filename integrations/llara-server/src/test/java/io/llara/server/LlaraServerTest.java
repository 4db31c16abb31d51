package io.llara.server;

import static com.google.common.util.concurrent.Uninterruptibles.awaitUninterruptibly;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.SearchListener;
import io.llara.testing.Stories;
import io.llara.testing.Vectors;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class LlaraServerTest {
  private static final String TEXT = "Lily went to the park.";
  private static final Duration SHORT = Duration.ofMillis(500);

  private static Encoder encoder;

  /** For tests without settings of their own. */
  private static LlaraServer usual;

  private final HttpClient http = HttpClient.newHttpClient();
  private final List<LlaraServer> servers = new ArrayList<>();

  @BeforeAll
  static void open() {
    encoder = Encoder.builder(Stories.dir()).computeType(ComputeType.FLOAT32).threads(2).build();
    usual = LlaraServer.builder(encoder).model("stories").port(0).start();
  }

  @AfterAll
  static void close() {
    usual.close();
    encoder.close();
  }

  @AfterEach
  void stop() {
    servers.forEach(LlaraServer::close);
  }

  private LlaraServer start(LlaraServer.Builder builder) {
    LlaraServer server = builder.port(0).start();
    servers.add(server);
    return server;
  }

  private static HttpRequest.Builder request(LlaraServer server, String path) {
    return HttpRequest.newBuilder(URI.create(server.address() + path));
  }

  private HttpResponse<String> get(LlaraServer server, String path) throws Exception {
    return http.send(request(server, path).build(), BodyHandlers.ofString());
  }

  private static HttpRequest post(LlaraServer server, String path, String body) {
    return request(server, path)
        .header("Content-Type", "application/json")
        .POST(BodyPublishers.ofString(body))
        .build();
  }

  private HttpResponse<String> send(LlaraServer server, String path, String body) throws Exception {
    return http.send(post(server, path, body), BodyHandlers.ofString());
  }

  private JsonElement json(LlaraServer server, String path, String body) throws Exception {
    HttpResponse<String> response = send(server, path, body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return JsonParser.parseString(response.body());
  }

  private static float[] floats(JsonElement array) {
    JsonArray values = array.getAsJsonArray();
    float[] floats = new float[values.size()];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = values.get(i).getAsFloat();
    }
    return floats;
  }

  private static float[] embedding(JsonElement answer, int index) {
    JsonObject one = answer.getAsJsonObject().getAsJsonArray("data").get(index).getAsJsonObject();
    assertThat(one.get("index").getAsInt()).isEqualTo(index);
    return floats(one.get("embedding"));
  }

  @Test
  void answersAsOpenAiDoes() throws Exception {
    LlaraServer server = usual;
    JsonObject answer =
        json(server, "/v1/embeddings", "{\"input\": \"%s\", \"model\": \"m\"}".formatted(TEXT))
            .getAsJsonObject();
    Vectors.assertSame(embedding(answer, 0), encoder.encodePassage(TEXT));
    assertThat(answer.get("object").getAsString()).isEqualTo("list");
    assertThat(answer.get("model").getAsString()).isEqualTo("stories");
    int tokens = encoder.countTokens(TEXT, encoder.modes().passage());
    assertThat(answer.getAsJsonObject("usage").get("prompt_tokens").getAsInt()).isEqualTo(tokens);
    assertThat(answer.getAsJsonObject("usage").get("total_tokens").getAsInt()).isEqualTo(tokens);
  }

  @Test
  void embedsQueriesInTheirMode() throws Exception {
    LlaraServer server = usual;
    float[] query = encoder.encodeQuery(TEXT);
    String body = "{\"input\": [\"%s\"], \"input_type\": \"query\"}".formatted(TEXT);
    Vectors.assertSame(embedding(json(server, "/v1/embeddings", body), 0), query);
    body = "{\"inputs\": \"%s\", \"prompt_name\": \"query\"}".formatted(TEXT);
    Vectors.assertSame(floats(json(server, "/embed", body).getAsJsonArray().get(0)), query);
    assertThat(Similarity.cosine(query, encoder.encodePassage(TEXT))).isLessThan(0.999);
  }

  @Test
  void takesTokenIdsAndSendsBytes() throws Exception {
    LlaraServer server = usual;
    int[] ids = encoder.prompts().build(TEXT, Mode.SELF, 100).textIds();
    String array = Arrays.toString(ids);
    JsonElement one = json(server, "/v1/embeddings", "{\"input\": %s}".formatted(array));
    Vectors.assertSame(embedding(one, 0), encoder.encodePassage(TEXT));
    JsonObject two =
        json(
                server,
                "/v1/embeddings",
                "{\"input\": [%s, %s], \"encoding_format\": \"base64\"}".formatted(array, array))
            .getAsJsonObject();
    String base64 =
        two.getAsJsonArray("data").get(1).getAsJsonObject().get("embedding").getAsString();
    float[] decoded = new float[encoder.dimension()];
    ByteBuffer.wrap(Base64.getDecoder().decode(base64))
        .order(ByteOrder.LITTLE_ENDIAN)
        .asFloatBuffer()
        .get(decoded);
    Vectors.assertSame(decoded, encoder.encodePassage(TEXT));
  }

  @Test
  void cutsToFewerDimensions() throws Exception {
    float[] cut =
        embedding(
            json(usual, "/v1/embeddings", "{\"input\": \"%s\", \"dimensions\": 8}".formatted(TEXT)),
            0);
    float[] whole = Arrays.copyOf(encoder.encodePassage(TEXT), 8);
    assertThat(cut).hasSize(8);
    assertThat(Similarity.dot(cut, cut)).isBetween(0.9999, 1.0001);
    assertThat(Similarity.cosine(cut, whole)).isGreaterThan(0.999999);
  }

  @Test
  void answersAsTextEmbeddingsInferenceDoes() throws Exception {
    LlaraServer server = start(LlaraServer.builder(encoder).model("stories"));
    JsonArray answer =
        json(
                server,
                "/embed",
                "{\"inputs\": [\"%s\", \"Tom\"], \"truncate\": true}".formatted(TEXT))
            .getAsJsonArray();
    Vectors.assertSame(floats(answer.get(0)), encoder.encodePassage(TEXT));
    Vectors.assertSame(floats(answer.get(1)), encoder.encodePassage("Tom"));
    JsonObject info = JsonParser.parseString(get(server, "/info").body()).getAsJsonObject();
    assertThat(info.get("model_id").getAsString()).isEqualTo("stories");
    assertThat(info.get("max_input_length").getAsInt()).isEqualTo(encoder.maxTokens());
    assertThat(get(server, "/health").statusCode()).isEqualTo(200);
    assertThat(get(server, "/metrics").body())
        .contains("te_request_count{path=\"/embed\",status=\"200\"} 1\n")
        .contains("te_request_duration_bucket{le=\"+Inf\"} 3\n")
        .contains("te_embed_count 2\n")
        .contains("te_queue_size 0\n");
    assertThat(get(server, "/v1/models").body()).contains("\"id\":\"stories\"");
    assertThat(get(server, "/v1/models/stories").body()).startsWith("{\"id\":\"stories\"");
    assertThat(get(server, "/v1/models/other").statusCode()).isEqualTo(404);
    assertThat(get(server, "/").statusCode()).isEqualTo(404); // There is nothing to search.
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{                                            | is not valid JSON",
        "[]                                           | the body is begin_array; expected an object",
        "{}                                           | 'input' is missing or empty",
        "{\"input\": []}                              | 'input' is missing or empty",
        "{\"input\": null}                            | 'input' is missing or empty",
        "{\"input\": 5}                               | expected a string or an array",
        "{\"input\": {}}                              | expected a string or an array",
        "{\"input\": \"\"}                            | text 0: ",
        "{\"input\": [\"a\", \"  \"]}                 | text 1: ",
        "{\"input\": [\"a\", 5]}                      | expected an array of strings, of token ids",
        "{\"input\": [[1], [1.5]]}                    | has '1.5'; expected a whole number",
        "{\"input\": [99999999999]}                   | expected a whole number",
        "{\"input\": [-1]}                            | -1",
        "{\"input\": [[]]}                            | text 0: ",
        "{\"input\": [1, 512000]}                     | 512000",
        "{\"input\": \"a\", \"input\": \"b\"}         | occurs twice",
        "{\"input\": \"a\", \"inputs\": \"b\"}        | the key 'inputs' is not known",
        "{\"input\": \"a\", \"input_type\": \"x\"}    | expected 'query' or 'document'",
        "{\"input\": \"a\", \"dimensions\": 0}        | expected 1 or more",
        "{\"input\": \"a\", \"dimensions\": 65}       | the model's embeddings have 64",
        "{\"input\": \"a\", \"dimensions\": \"8\"}    | expected a whole number",
        "{\"input\": \"a\", \"encoding_format\": \"x\"} | expected 'float' or 'base64'",
        "{\"input\": \"\\ud800\"}                     | surrogate",
        "{\"input\": \"a\"} x                         | is not valid JSON",
        "{\"input\": [[[1]]]}                         | expected a whole number",
      })
  void refusesWhatIsNoRequest(String body, String message) throws Exception {
    HttpResponse<String> response = send(usual, "/v1/embeddings", body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
    JsonObject error =
        JsonParser.parseString(response.body()).getAsJsonObject().getAsJsonObject("error");
    assertThat(error.get("message").getAsString()).contains(message);
    assertThat(error.get("type").getAsString()).isEqualTo("invalid_request_error");
    assertThat(error.keySet()).containsExactly("message", "type", "param", "code");
  }

  @Test
  void refusesTextsThatDoNotFitUnlessTheyMayBeCut() throws Exception {
    String text = "Once upon a time. ".repeat(encoder.maxTokens());
    HttpResponse<String> refused = send(usual, "/embed", "{\"inputs\": \"%s\"}".formatted(text));
    assertThat(refused.statusCode()).isEqualTo(400);
    assertThat(refused.body())
        .contains("fit into the " + encoder.maxTokens() + " of this model")
        .contains("\"error_type\":\"Validation\"");
    json(usual, "/embed", "{\"inputs\": \"%s\", \"truncate\": true}".formatted(text));
    LlaraServer cuts = start(LlaraServer.builder(encoder).truncate(true));
    json(cuts, "/v1/embeddings", "{\"input\": \"%s\"}".formatted(text));
  }

  @Test
  void refusesOtherMethodsPathsTypesAndHosts() throws Exception {
    LlaraServer server = usual;
    assertThat(get(server, "/embed").statusCode()).isEqualTo(405);
    assertThat(get(server, "/nothing").statusCode()).isEqualTo(404);
    HttpRequest form =
        request(server, "/embed").POST(BodyPublishers.ofString("{\"inputs\": \"a\"}")).build();
    assertThat(http.send(form, BodyHandlers.ofString()).statusCode()).isEqualTo(415);
    assertThat(raw(server, "GET /info HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"))
        .contains(" 403 ");
  }

  @ParameterizedTest
  @CsvSource({
    "localhost:1, 200",
    "LocalHost, 200",
    "127.0.0.1, 200",
    "127.0.0.2:8080, 200",
    "[::1]:8080, 200",
    "localhost.evil.example, 403",
    "127.0.0.1.evil.example, 403",
    "192.0.2.1, 403",
    "[2001:db8::1], 403",
    // A name is not resolved: whoever owns it can make it any address, for a moment.
    "ip6-localhost, 403"
  })
  void answersToAddressesThatNeverLeaveTheMachine(String host, int status) throws Exception {
    assertThat(raw(usual, "GET /info HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 " + status);
  }

  @Test
  @EnabledOnOs(OS.LINUX) // Others have 127.0.0.1 alone.
  void answersToItsOwnAddress() throws Exception {
    LlaraServer server = start(LlaraServer.builder(encoder).host("127.0.0.2"));
    assertThat(server.address().getHost()).isEqualTo("127.0.0.2");
    assertThat(get(server, "/info").statusCode()).isEqualTo(200);
  }

  @Test
  void asksForTheKey() throws Exception {
    LlaraServer server = start(LlaraServer.builder(encoder).apiKey("secret"));
    String body = "{\"input\": \"a\"}";
    HttpResponse<String> refused = send(server, "/v1/embeddings", body);
    assertThat(refused.statusCode()).isEqualTo(401);
    assertThat(refused.body()).contains("\"code\":\"invalid_api_key\"").doesNotContain("secret");
    assertThat(get(server, "/metrics").statusCode()).isEqualTo(401);
    assertThat(get(server, "/health").statusCode()).isEqualTo(200);
    for (String key : List.of("Bearer wrong", "Bearer secret2", "secret", "Bearer secret")) {
      HttpRequest request =
          request(server, "/v1/embeddings")
              .header("Content-Type", "application/json")
              .header("Authorization", key)
              .POST(BodyPublishers.ofString(body))
              .build();
      assertThat(http.send(request, BodyHandlers.ofString()).statusCode())
          .as(key)
          .isEqualTo(key.equals("Bearer secret") ? 200 : 401);
    }
  }

  @Test
  void refusesBodiesOverTheLimit() throws Exception {
    LlaraServer server =
        start(LlaraServer.builder(encoder).limits(ServerLimits.DEFAULT.withBodyBytes(1000)));
    String body = "{\"inputs\": \"%s\"}".formatted("a ".repeat(1000));
    assertThat(send(server, "/embed", body).statusCode()).isEqualTo(413);
    HttpRequest chunked =
        request(server, "/embed")
            .header("Content-Type", "application/json")
            .POST(
                BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body.getBytes(UTF_8))))
            .build();
    assertThat(http.send(chunked, BodyHandlers.ofString()).statusCode()).isEqualTo(413);
    // A body that is announced and never comes.
    assertThat(
            raw(
                server,
                "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    + "Content-Length: 999999999999\r\n\r\n"))
        .startsWith("HTTP/1.1 413")
        .contains("Connection: close");
    json(server, "/embed", "{\"inputs\": \"a\"}");
  }

  @Test
  void limitsTexts() throws Exception {
    LlaraServer server =
        start(
            LlaraServer.builder(encoder)
                .limits(new ServerLimits(1 << 20, 3, 50, 1000, 10, Duration.ofSeconds(10))));
    assertThat(send(server, "/embed", "{\"inputs\": [\"a\",\"a\",\"a\",\"a\"]}").statusCode())
        .isEqualTo(413);
    assertThat(send(server, "/embed", "{\"inputs\": \"%s\"}".formatted("a".repeat(51))).body())
        .contains("text 0 has 51 characters; the limit is 50");
    json(server, "/embed", "{\"inputs\": [\"a\",\"a\",\"a\"]}");
  }

  @Test
  void saysWhenToComeBackIfTooMuchWaits() throws Exception {
    HeldEncoder held = new HeldEncoder(encoder);
    LlaraServer server =
        start(LlaraServer.builder(held).limits(ServerLimits.DEFAULT.withQueuedTokens(50)));
    String body = "{\"input\": \"%s\"}".formatted(TEXT);
    List<CompletableFuture<HttpResponse<String>>> waiting = new ArrayList<>();
    HttpResponse<String> refused = null;
    while (refused == null) {
      CompletableFuture<HttpResponse<String>> next =
          http.sendAsync(post(server, "/v1/embeddings", body), BodyHandlers.ofString());
      int before = waiting.size();
      while (!next.isDone() && held.held.size() == before) {
        Thread.sleep(5);
      }
      if (held.held.size() > before) {
        waiting.add(next);
      } else {
        refused = next.get();
      }
    }
    assertThat(waiting).isNotEmpty();
    assertThat(refused.statusCode()).isEqualTo(429);
    assertThat(refused.body()).contains("\"type\":\"rate_limit_exceeded\"");
    assertThat(refused.headers().firstValueAsLong("Retry-After").orElse(0)).isBetween(1L, 60L);
    held.release();
    for (CompletableFuture<HttpResponse<String>> one : waiting) {
      assertThat(one.get().statusCode()).isEqualTo(200);
    }
  }

  /** Sends bytes and returns what comes until the server closes the connection, or nothing does. */
  private static String raw(LlaraServer server, String text) throws IOException {
    try (Socket socket = new Socket("127.0.0.1", server.address().getPort())) {
      socket.setSoTimeout(1000);
      socket.getOutputStream().write(text.getBytes(UTF_8));
      return read(socket);
    }
  }

  private static String read(Socket socket) throws IOException {
    StringBuilder answer = new StringBuilder();
    InputStream in = socket.getInputStream();
    byte[] buffer = new byte[8192];
    try {
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        answer.append(new String(buffer, 0, n, UTF_8));
      }
    } catch (IOException e) {
      return answer.toString();
    }
    return answer.toString();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Never-Ending: ",
        "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + "Content-Length: 10000\r\n\r\n"
      })
  void cutsOffWhoSendsAByteAtATime(String beginning) throws Exception {
    LlaraServer server =
        start(LlaraServer.builder(encoder).limits(ServerLimits.DEFAULT.withPatience(SHORT)));
    long begin = System.nanoTime();
    try (Socket socket = new Socket("127.0.0.1", server.address().getPort())) {
      socket.getOutputStream().write(beginning.getBytes(UTF_8));
      boolean open = true;
      while (open && System.nanoTime() - begin < TimeUnit.SECONDS.toNanos(20)) {
        Thread.sleep(50);
        try {
          socket.getOutputStream().write(' ');
        } catch (IOException e) {
          open = false;
        }
      }
      assertThat(open).isFalse();
    }
    assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(5));
  }

  @Test
  void waitsForEmbeddingsForLongerThanForClients() throws Exception {
    HeldEncoder held = new HeldEncoder(encoder);
    LlaraServer server =
        start(LlaraServer.builder(held).limits(ServerLimits.DEFAULT.withPatience(SHORT)));
    CompletableFuture<HttpResponse<String>> response =
        http.sendAsync(post(server, "/embed", "{\"inputs\": \"a\"}"), BodyHandlers.ofString());
    Thread.sleep(3 * SHORT.toMillis());
    assertThat(response).isNotDone();
    held.release();
    assertThat(response.get().statusCode()).isEqualTo(200);
  }

  @Test
  void answersWhatHasComeBeforeItStops() throws Exception {
    HeldEncoder held = new HeldEncoder(encoder);
    LlaraServer server = start(LlaraServer.builder(held));
    List<CompletableFuture<HttpResponse<String>>> responses =
        IntStream.range(0, 5)
            .mapToObj(
                i ->
                    http.sendAsync(
                        post(server, "/embed", "{\"inputs\": \"a\"}"), BodyHandlers.ofString()))
            .toList();
    while (held.held.size() < 5) {
      Thread.sleep(10);
    }
    CompletableFuture<Void> stopped = CompletableFuture.runAsync(server::close);
    Thread.sleep(200);
    assertThat(stopped).isNotDone();
    assertThatExceptionOfType(IOException.class)
        .isThrownBy(() -> new Socket("127.0.0.1", server.address().getPort()).close());
    held.release();
    for (CompletableFuture<HttpResponse<String>> one : responses) {
      assertThat(one.get().statusCode()).isEqualTo(200);
      assertThat(one.get().headers().firstValue("Connection")).contains("close");
    }
    stopped.get();
  }

  @Test
  void answersMalformedRequestsOneByOne() throws Exception {
    LlaraServer server = usual;
    Random random = new Random(19);
    for (int i = 0; i < 200; i++) {
      String answer = raw(server, MalformedRequests.next(random));
      assertThat(answer).matches("(?s)HTTP/1\\.[01] 4\\d\\d .*");
    }
    json(server, "/embed", "{\"inputs\": \"a\"}");
  }

  @Test
  void searchesACollection() throws Exception {
    String lines =
        """
        {"_id": "a", "title": "", "text": "Lily went to the park and saw a dog."}
        {"_id": "b", "title": "Cake", "text": "Tom ate a big red cake."}
        {"_id": "c", "title": "", "text": "The sun was hot."}
        """;
    Corpus corpus = new Corpus("three", () -> new ByteArrayInputStream(lines.getBytes(UTF_8)));
    LlaraServer server =
        start(
            LlaraServer.builder(encoder)
                .corpus(corpus, EmbeddingSearch.of(encoder), SearchListener.NONE));
    HttpResponse<String> response = get(server, "/search?q=big%20cake&k=2");
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    JsonObject answer = JsonParser.parseString(response.body()).getAsJsonObject();
    assertThat(answer.getAsJsonArray("next")).hasSize(2);
    assertThat(answer.getAsJsonArray("self")).hasSize(2);
    JsonObject best = answer.getAsJsonArray("bm25").get(0).getAsJsonObject();
    assertThat(best.get("id").getAsString()).isEqualTo("b");
    JsonObject scores = best.getAsJsonObject("scores");
    float[] passage = encoder.encodePassage("Cake Tom ate a big red cake.");
    assertThat(scores.get("next").getAsDouble())
        .isCloseTo(
            Similarity.dot(encoder.encode("big cake", Mode.NEXT), passage),
            org.assertj.core.data.Offset.offset(1e-5));
    assertThat(scores.get("self").getAsDouble())
        .isCloseTo(
            Similarity.dot(encoder.encode("big cake", Mode.SELF), passage),
            org.assertj.core.data.Offset.offset(1e-5));
    assertThat(scores.get("bm25").getAsDouble()).isPositive();
    assertThat(get(server, "/search?q=").statusCode()).isEqualTo(400);
    assertThat(get(server, "/search?q=a&k=0").statusCode()).isEqualTo(400);
    assertThat(
            raw(
                server,
                "GET /search?q=%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 400");
    HttpResponse<String> page = get(server, "/");
    assertThat(page.body()).contains("<html lang=\"en\">").doesNotContain("http");
    assertThat(page.headers().firstValue("Content-Security-Policy").orElse(""))
        .contains("default-src 'self'");
    assertThat(get(server, "/page.js").statusCode()).isEqualTo(200);
    assertThat(get(server, "/page.css").statusCode()).isEqualTo(200);
  }

  @Test
  void listensBeforeItsCollectionIsEncoded() throws Exception {
    int port = freePort();
    CountDownLatch wanted = new CountDownLatch(1);
    Corpus corpus =
        new Corpus(
            "one",
            () -> {
              awaitUninterruptibly(wanted);
              return new ByteArrayInputStream(
                  "{\"_id\": \"a\", \"text\": \"Lily\"}".getBytes(UTF_8));
            });
    CompletableFuture<LlaraServer> starting =
        CompletableFuture.supplyAsync(
            () ->
                LlaraServer.builder(encoder)
                    .port(port)
                    .corpus(corpus, EmbeddingSearch.of(encoder), SearchListener.NONE)
                    .start());
    URI address = URI.create("http://127.0.0.1:" + port);
    try {
      assertThat(statusOnceListening(address.resolve("/health"))).isEqualTo(503);
      assertThat(statusOnceListening(address.resolve("/search?q=a"))).isEqualTo(503);
    } finally {
      wanted.countDown();
    }
    LlaraServer server = starting.get();
    servers.add(server);
    assertThat(get(server, "/health").statusCode()).isEqualTo(200);
    assertThat(get(server, "/search?q=a").statusCode()).isEqualTo(200);
  }

  private static int freePort() throws IOException {
    try (ServerSocket free = new ServerSocket(0)) {
      return free.getLocalPort();
    }
  }

  private int statusOnceListening(URI address) throws Exception {
    while (true) {
      try {
        return http.send(HttpRequest.newBuilder(address).build(), BodyHandlers.discarding())
            .statusCode();
      } catch (ConnectException e) {
        Thread.sleep(10);
      }
    }
  }

  private static LlaraServer start(int port, Corpus corpus) throws IOException {
    return LlaraServer.builder(encoder)
        .port(port)
        .corpus(corpus, EmbeddingSearch.of(encoder), SearchListener.NONE)
        .start();
  }

  @Test
  void stopsIfItsCollectionCannotBeRead() throws Exception {
    int port = freePort();
    Corpus corpus =
        new Corpus(
            "none",
            () -> {
              throw new IOException("gone");
            });
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> start(port, corpus))
        .withMessageContaining("gone");
    assertThatExceptionOfType(ConnectException.class)
        .isThrownBy(() -> new Socket("127.0.0.1", port).close());
  }

  @Test
  void namesAPortThatIsTakenBeforeItReadsTheCollection() {
    int port = usual.address().getPort();
    Corpus corpus =
        new Corpus(
            "unread",
            () -> {
              throw new AssertionError("it is read");
            });
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> start(port, corpus))
        .withMessageStartingWith("127.0.0.1 port %d cannot be listened on: ".formatted(port));
  }
}
