package io.llara.spring;

import static java.util.Objects.requireNonNull;

import io.llara.Encoder;
import io.llara.Mode;
import java.util.ArrayList;
import java.util.List;
import org.springframework.ai.document.Document;
import org.springframework.ai.embedding.BatchingStrategy;

/**
 * Cuts the documents that a vector store adds into batches by their number of tokens, counted by
 * the encoder. A document that is longer than a batch is one of its own. Thread-safe.
 */
public final class LlaraBatchingStrategy implements BatchingStrategy {
  private final Encoder encoder;
  private final int maxTokens;

  /**
   * Creates a strategy.
   *
   * @param maxTokens the most tokens of a batch, prompts included. The encoder makes its own, far
   *     smaller batches of each: this is how many vectors a store holds before it writes them
   * @throws IllegalArgumentException if {@code maxTokens} is less than 1
   */
  public LlaraBatchingStrategy(Encoder encoder, int maxTokens) {
    if (maxTokens < 1) {
      throw new IllegalArgumentException("maxTokens is " + maxTokens + "; it must be positive");
    }
    this.encoder = requireNonNull(encoder, "encoder").forPassages();
    this.maxTokens = maxTokens;
  }

  /**
   * Cuts documents into batches, in their order.
   *
   * @throws UnsupportedOperationException if the encoder has no tokenizer
   */
  @Override
  public List<List<Document>> batch(List<Document> documents) {
    List<List<Document>> batches = new ArrayList<>();
    Mode mode = encoder.modes().passage();
    int room = 0;
    for (Document document : documents) {
      String text = requireNonNull(document.getText(), "a document has no text");
      int tokens = Math.min(encoder.countTokens(text, mode), encoder.maxTokens());
      if (tokens > room) {
        batches.add(new ArrayList<>());
        room = maxTokens;
      }
      batches.get(batches.size() - 1).add(document);
      room -= tokens;
    }
    return batches;
  }
}
