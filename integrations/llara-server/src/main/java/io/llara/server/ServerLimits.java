package io.llara.server;

import java.time.Duration;

/**
 * How much a server takes on. What is over a limit is refused before it costs more.
 *
 * @param bodyBytes the longest body of a request
 * @param texts the most texts of a request
 * @param textCharacters the longest text, in UTF-16 units, before it is tokenised
 * @param queuedTokens how many tokens may wait or be computed; a request that comes when they are
 *     exceeded is answered 429
 * @param connections how many clients may be connected
 * @param patience how long a client may take to send a request, to read an answer, or stay
 *     connected without either; and how long {@link LlaraServer#close} waits for answers
 */
public record ServerLimits(
    int bodyBytes,
    int texts,
    int textCharacters,
    long queuedTokens,
    int connections,
    Duration patience) {
  /** 4 MiB, 2048 texts of 100,000 characters, 65,536 tokens, 512 clients, 30 seconds. */
  public static final ServerLimits DEFAULT =
      new ServerLimits(4 << 20, 2048, 100_000, 1 << 16, 512, Duration.ofSeconds(30));

  /** Checks that all are positive. */
  public ServerLimits {
    if (bodyBytes < 1
        || texts < 1
        || textCharacters < 1
        || queuedTokens < 1
        || connections < 1
        || patience.isNegative()
        || patience.isZero()) {
      throw new IllegalArgumentException("a limit is not positive");
    }
  }

  /** Returns these limits with another number of tokens that may wait. */
  public ServerLimits withQueuedTokens(long tokens) {
    return new ServerLimits(bodyBytes, texts, textCharacters, tokens, connections, patience);
  }

  /** Returns these limits with another longest body. */
  public ServerLimits withBodyBytes(int bytes) {
    return new ServerLimits(bytes, texts, textCharacters, queuedTokens, connections, patience);
  }

  /** Returns these limits with another patience. */
  public ServerLimits withPatience(Duration other) {
    return new ServerLimits(bodyBytes, texts, textCharacters, queuedTokens, connections, other);
  }
}
