package io.llara.examples;

import io.llara.EmbeddingPair;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import java.nio.file.Path;
import java.util.Locale;

/**
 * Encodes one text in both modes with a single forward pass, and shows that each embedding is the
 * one that a pass of its own gives.
 *
 * <p>Argument: a model directory; without one the default model is used.
 */
public final class BothModes {
  private BothModes() {}

  /** Runs the example. */
  public static void main(String[] args) {
    String text = "Llamas carry loads over mountain paths.";

    try (Encoder encoder =
        args.length > 0 ? Encoder.load(Path.of(args[0])) : Encoder.loadDefault()) {
      EmbeddingPair both = encoder.encodeBoth(text);
      float[] self = encoder.encode(text, Mode.SELF);
      float[] next = encoder.encode(text, Mode.NEXT);

      print("SELF together and alone", Similarity.cosine(both.self(), self));
      print("NEXT together and alone", Similarity.cosine(both.next(), next));
      print("SELF and NEXT", Similarity.cosine(both.self(), both.next()));
    }
  }

  private static void print(String what, double cosine) {
    System.out.printf(Locale.ROOT, "%-25s %.6f%n", what, cosine);
  }
}
