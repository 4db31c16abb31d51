package io.llara.server;

import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;

/**
 * Counts requests, and writes what was counted in the text format of Prometheus. Where
 * text-embeddings-inference has a name for it, it is that name.
 */
final class Metrics {
  /** Upper bounds, in seconds. */
  private static final double[] BOUNDS = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30
  };

  /** Requests to one path, by their status. */
  private final Map<String, LongAdder> requests = new ConcurrentHashMap<>();

  /** Successful ones, by how long they took; the last has those over all bounds. */
  private final LongAdder[] buckets = new LongAdder[BOUNDS.length + 1];

  private final LongAdder nanoseconds = new LongAdder();

  Metrics() {
    for (int i = 0; i < buckets.length; i++) {
      buckets[i] = new LongAdder();
    }
  }

  /**
   * Counts an answer.
   *
   * @param path one of ours, or what stands for all others
   */
  void answered(String path, int status, long duration) {
    requests
        .computeIfAbsent("path=\"" + path + "\",status=\"" + status + "\"", key -> new LongAdder())
        .increment();
    if (status == 200) {
      double seconds = duration / 1e9;
      int bucket = 0;
      while (bucket < BOUNDS.length && seconds > BOUNDS[bucket]) {
        bucket++;
      }
      buckets[bucket].increment();
      nanoseconds.add(duration);
    }
  }

  /** Returns all that was counted. */
  String text(Embedder embedder, int connections) {
    StringBuilder text = new StringBuilder();
    text.append("# HELP te_request_count Requests that were answered.\n");
    text.append("# TYPE te_request_count counter\n");
    new TreeMap<>(requests)
        .forEach(
            (labels, count) ->
                text.append("te_request_count{" + labels + "} " + count.sum() + "\n"));
    text.append("# HELP te_request_duration How long requests that succeeded took, in seconds.\n");
    text.append("# TYPE te_request_duration histogram\n");
    long sum = 0;
    for (int i = 0; i < buckets.length; i++) {
      sum += buckets[i].sum();
      String bound = i < BOUNDS.length ? String.valueOf(BOUNDS[i]) : "+Inf";
      text.append("te_request_duration_bucket{le=\"" + bound + "\"} " + sum + "\n");
    }
    text.append(
        String.format(
            Locale.ROOT, "te_request_duration_sum %.6f\n", nanoseconds.doubleValue() / 1e9));
    text.append("te_request_duration_count " + sum + "\n");
    add(text, "te_embed_count", "counter", "Texts that were embedded.", embedder.texts());
    add(text, "llara_tokens", "counter", "Their tokens, prompts included.", embedder.tokens());
    add(text, "te_queue_size", "gauge", "Texts that wait or are computed.", embedder.queuedTexts());
    add(text, "llara_queue_tokens", "gauge", "Their tokens.", embedder.queuedTokens());
    add(text, "llara_connections", "gauge", "Clients that are connected.", connections);
    return text.toString();
  }

  private static void add(StringBuilder text, String name, String type, String help, long value) {
    text.append(
        "# HELP %s %s\n# TYPE %s %s\n%s ".formatted(name, help, name, type, name) + value + "\n");
  }
}
