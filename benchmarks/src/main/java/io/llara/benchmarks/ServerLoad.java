package io.llara.benchmarks;

import io.llara.Encoder;
import io.llara.io.StrictJson;
import io.llara.retrieval.Corpus;
import io.llara.server.LlaraServer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * How much of an encoder's throughput is left when its texts come one by one over HTTP: {@code
 * encodeAll} in this process and {@code wrk} (64 connections, one text a request) take turns, so
 * that what else the machine does meets both.
 *
 * <p>Arguments: the collection, the seconds of a turn, the number of turns; maybe a model
 * directory.
 */
public final class ServerLoad {
  private static final int CONNECTIONS = 64;
  private static final Pattern RATE = Pattern.compile("Requests/sec:\\s+([\\d.]+)");
  private static final Pattern P99 = Pattern.compile("99%\\s+(\\S+)");
  private static final Pattern FAILED =
      Pattern.compile("Non-2xx or 3xx responses: (\\d+)|Socket errors: (.*)");

  private ServerLoad() {}

  /** Measures and prints. */
  public static void main(String[] args) throws Exception {
    List<String> texts;
    try (Stream<String> passages = Corpus.of(Path.of(args[0])).passages()) {
      texts = passages.toList();
    }
    int seconds = Integer.parseInt(args[1]);
    int turns = Integer.parseInt(args[2]);
    Path script = Files.createTempFile("llara-wrk", ".lua");
    Files.writeString(script, script(texts));
    List<Double> ratios = new ArrayList<>();
    try (Encoder encoder =
            args.length > 3 ? Encoder.load(Path.of(args[3])) : Encoder.loadDefault();
        LlaraServer server = LlaraServer.builder(encoder).port(0).truncate(true).start()) {
      batched(encoder, texts, 2);
      wrk(server, script, 2);
      for (int i = 0; i < turns; i++) {
        double direct = batched(encoder, texts, seconds);
        String report = wrk(server, script, seconds);
        double served = Double.parseDouble(find(RATE, report));
        ratios.add(served / direct);
        System.out.printf(
            Locale.ROOT,
            "encodeAll %.1f texts/s, %d connections %.1f texts/s, ratio %.3f, p99 %s%s%n",
            direct,
            CONNECTIONS,
            served,
            served / direct,
            find(P99, report),
            FAILED.matcher(report).find() ? ", FAILED: " + report : "");
      }
    } finally {
      Files.delete(script);
    }
    System.out.println("ratio, median (lowest–highest): " + Stopwatch.Spread.of(ratios));
  }

  /** Returns how many texts a second are encoded, all in one call. */
  private static double batched(Encoder encoder, List<String> texts, int seconds) {
    List<String> many = Stream.of(texts, texts).flatMap(List::stream).toList();
    long begin = System.nanoTime();
    long done = 0;
    while (System.nanoTime() - begin < seconds * 1e9) {
      encoder.forPassages().encodeAll(many, encoder.modes().passage());
      done += many.size();
    }
    return done / ((System.nanoTime() - begin) / 1e9);
  }

  private static String wrk(LlaraServer server, Path script, int seconds) throws IOException {
    Process wrk =
        new ProcessBuilder(
                "wrk",
                "--latency",
                "--timeout=60s",
                "-t1",
                "-c" + CONNECTIONS,
                "-d%ds".formatted(seconds),
                "-s" + script,
                server.address() + "/embed")
            .redirectErrorStream(true)
            .start();
    try (BufferedReader out =
        new BufferedReader(new InputStreamReader(wrk.getInputStream(), StandardCharsets.UTF_8))) {
      return out.lines().collect(Collectors.joining("\n"));
    }
  }

  private static String find(Pattern pattern, String report) {
    Matcher matcher = pattern.matcher(report);
    if (!matcher.find()) {
      throw new IllegalStateException(report);
    }
    return matcher.group(1);
  }

  /** Each request has the next text. They are in long brackets, in which Lua escapes nothing. */
  private static String script(List<String> texts) {
    String bodies =
        texts.stream()
            .map(text -> "[==[{\"inputs\": %s}]==]".formatted(StrictJson.tree(text)))
            .collect(Collectors.joining(",\n"));
    return """
        local bodies = {%s}
        local next = 0
        local headers = {["Content-Type"] = "application/json"}
        function request()
          next = next %% #bodies + 1
          return wrk.format("POST", nil, headers, bodies[next])
        end
        """
        .formatted(bodies);
  }
}
