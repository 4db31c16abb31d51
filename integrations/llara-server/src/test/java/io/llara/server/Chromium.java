package io.llara.server;

import static java.util.Objects.requireNonNull;

import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** A headless Chromium with one page, driven over its DevTools protocol. */
final class Chromium implements AutoCloseable {
  /** What went wrong on the page, as its console shows it. */
  final List<String> problems = new CopyOnWriteArrayList<>();

  private final Path profile = Files.createTempDirectory("llara-chromium");
  private final Process process;
  private final WebSocket socket;
  private final AtomicInteger last = new AtomicInteger();
  private final Map<Integer, CompletableFuture<JsonObject>> answers = new ConcurrentHashMap<>();

  Chromium(int width, int height) throws Exception {
    process =
        new ProcessBuilder(
                "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-port=0",
                "--user-data-dir=" + profile,
                "--window-size=%d,%d".formatted(width, height),
                "about:blank")
            .redirectErrorStream(true)
            .redirectOutput(profile.resolve("log").toFile())
            .start();
    Path port = profile.resolve("DevToolsActivePort");
    while (Files.notExists(port) || Files.readAllLines(port).size() < 2) {
      if (!process.isAlive()) {
        throw new IOException(Files.readString(profile.resolve("log")));
      }
      Thread.sleep(50);
    }
    HttpClient http = HttpClient.newHttpClient();
    String pages =
        http.send(
                HttpRequest.newBuilder(
                        URI.create(
                            "http://127.0.0.1:%s/json/list"
                                .formatted(Files.readAllLines(port).get(0))))
                    .build(),
                BodyHandlers.ofString())
            .body();
    String page = "";
    for (var each : JsonParser.parseString(pages).getAsJsonArray()) {
      if (each.getAsJsonObject().get("type").getAsString().equals("page")) {
        page = each.getAsJsonObject().get("webSocketDebuggerUrl").getAsString();
      }
    }
    socket = http.newWebSocketBuilder().buildAsync(URI.create(page), new Listener()).get();
    command("Runtime.enable", "{}");
    command("Log.enable", "{}");
    command("Page.enable", "{}");
    command(
        "Emulation.setDeviceMetricsOverride",
        "{\"width\": %d, \"height\": %d, \"deviceScaleFactor\": 1, \"mobile\": %s}"
            .formatted(width, height, width < 600));
  }

  /** Puts messages together and hands them on. */
  private final class Listener implements WebSocket.Listener {
    private final StringBuilder message = new StringBuilder();

    @Override
    public CompletionStage<?> onText(WebSocket from, CharSequence data, boolean end) {
      message.append(data);
      if (end) {
        take(JsonParser.parseString(message.toString()).getAsJsonObject());
        message.setLength(0);
      }
      from.request(1);
      return CompletableFuture.completedFuture(null);
    }
  }

  private void take(JsonObject message) {
    if (message.has("id")) {
      requireNonNull(answers.remove(message.get("id").getAsInt())).complete(message);
      return;
    }
    String method = message.get("method").getAsString();
    String text = message.toString();
    if (method.equals("Runtime.exceptionThrown")
        || method.equals("Log.entryAdded") && text.contains("\"level\":\"error\"")
        || method.equals("Runtime.consoleAPICalled") && text.contains("\"type\":\"error\"")) {
      problems.add(text);
    }
  }

  JsonObject command(String method, String parameters) throws Exception {
    int id = last.incrementAndGet();
    CompletableFuture<JsonObject> answer = new CompletableFuture<>();
    answers.put(id, answer);
    socket
        .sendText(
            "{\"id\": %d, \"method\": \"%s\", \"params\": %s}".formatted(id, method, parameters),
            true)
        .get();
    return answer.get(30, TimeUnit.SECONDS);
  }

  /** Returns the value of an expression, as text. */
  String evaluate(String expression) throws Exception {
    JsonObject parameters = new JsonObject();
    parameters.addProperty("expression", "String(%s)".formatted(expression));
    JsonObject answer = command("Runtime.evaluate", parameters.toString());
    return answer.getAsJsonObject("result").getAsJsonObject("result").get("value").getAsString();
  }

  /** Waits until an expression is true. */
  void await(String expression) throws Exception {
    long begin = System.nanoTime();
    while (!evaluate(expression).equals("true")) {
      if (System.nanoTime() - begin > TimeUnit.SECONDS.toNanos(30)) {
        throw new AssertionError("never true: " + expression);
      }
      Thread.sleep(50);
    }
  }

  void open(URI page) throws Exception {
    command("Page.navigate", "{\"url\": \"%s\"}".formatted(page));
    await("document.readyState === 'complete' && location.protocol === 'http:'");
  }

  void type(String text) throws Exception {
    for (char c : text.toCharArray()) {
      command("Input.dispatchKeyEvent", "{\"type\": \"char\", \"text\": \"%s\"}".formatted(c));
    }
  }

  /** Presses a key that types nothing. */
  void press(String key, int code) throws Exception {
    String parameters =
        "\"key\": \"%s\", \"code\": \"%s\", \"windowsVirtualKeyCode\": %d"
            .formatted(key, key, code);
    String text = key.equals("Enter") ? ", \"text\": \"\\r\"" : "";
    command("Input.dispatchKeyEvent", "{\"type\": \"keyDown\", %s%s}".formatted(parameters, text));
    command("Input.dispatchKeyEvent", "{\"type\": \"keyUp\", %s}".formatted(parameters));
  }

  void screenshot(Path file) throws Exception {
    JsonObject answer = command("Page.captureScreenshot", "{\"format\": \"png\"}");
    Files.createDirectories(file.resolveSibling(""));
    Files.write(
        file,
        Base64.getDecoder().decode(answer.getAsJsonObject("result").get("data").getAsString()));
  }

  @Override
  public void close() throws IOException, InterruptedException {
    socket.abort();
    process.destroy();
    process.waitFor();
    MoreFiles.deleteRecursively(profile, RecursiveDeleteOption.ALLOW_INSECURE);
  }
}
