package io.llara.examples;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Encodes a question and a few passages and prints their cosines.
 *
 * <p>Argument: a model directory; without one the default model is used.
 */
public final class QuickStart {
  private QuickStart() {}

  /** Runs the example. */
  public static void main(String[] args) {
    List<String> passages =
        List.of(
            "The llama is a domesticated South American camelid.",
            "A lighthouse warns ships of rocks and shallows.",
            "Bread rises because yeast makes gas in the dough.");

    try (Encoder encoder =
        args.length > 0 ? Encoder.load(Path.of(args[0])) : Encoder.loadDefault()) {
      // A question is encoded to predict the text that follows it, a passage to stand for itself.
      float[] query = encoder.encode("What is a llama?", Mode.NEXT);
      for (String passage : passages) {
        double score = Similarity.cosine(query, encoder.encode(passage, Mode.SELF));
        System.out.printf(Locale.ROOT, "%.4f  %s%n", score, passage);
      }
    }
  }
}
