package io.llara.server;

import java.util.List;
import java.util.Random;

/** Requests that must be answered with a status of 4xx. */
final class MalformedRequests {
  private static final List<String> BODIES =
      List.of(
          "{\"input\": \"Lily went to the park.\", \"model\": \"m\", \"dimensions\": 8}",
          "{\"input\": [\"Lily\", \"Tom\"], \"encoding_format\": \"base64\"}",
          "{\"input\": [[1, 2, 3], [4, 5]], \"user\": \"u\"}");

  private MalformedRequests() {}

  /** Returns the next one, to be sent over a connection of its own. */
  static String next(Random random) {
    return switch (random.nextInt(8)) {
      case 0 -> post(damaged(random));
      case 1 -> post(BODIES.get(random.nextInt(BODIES.size())).replace("input", noise(random, 5)));
      case 2 -> post("[".repeat(1 + random.nextInt(5000)));
      case 3 -> post("{\"input\": %d}".formatted(random.nextLong()));
      case 4 ->
          "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n"
              + "Connection: close\r\n\r\n";
      case 5 -> noise(random, 40) + "\r\n\r\n";
      case 6 ->
          "GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
              .formatted(noise(random, 8));
      default -> "GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n".formatted("x".repeat(20_000));
    };
  }

  /** Cuts a body off, which is never right. */
  private static String damaged(Random random) {
    String body = BODIES.get(random.nextInt(BODIES.size()));
    return body.substring(0, random.nextInt(body.length()));
  }

  private static String noise(Random random, int length) {
    StringBuilder text = new StringBuilder("z");
    for (int i = 0; i < length; i++) {
      text.append((char) ('a' + random.nextInt(26)));
    }
    return text.toString();
  }

  private static String post(String body) {
    return "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + "Content-Length: %d\r\nConnection: close\r\n\r\n%s".formatted(body.length(), body);
  }
}
