import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import java.nio.file.Path;
import java.util.Locale;

/** Encodes a question and a passage with the model directory given and prints their cosine. */
public final class TwoTexts {
  private TwoTexts() {}

  public static void main(String[] args) {
    try (Encoder encoder = Encoder.load(Path.of(args[0]))) {
      double cosine =
          cosine(
              encoder, "What is llama?", "The llama is a domesticated South American camelid.");
      System.out.printf(Locale.ROOT, "cosine %.4f%n", cosine);
    }
  }

  static double cosine(Encoder encoder, String query, String passage) {
    return Similarity.cosine(
        encoder.encode(query, Mode.NEXT), encoder.encode(passage, Mode.SELF));
  }
}
