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
      float[] query = encoder.encode("What is llama?", Mode.NEXT);
      float[] passage =
          encoder.encode("The llama is a domesticated South American camelid.", Mode.SELF);
      System.out.printf(Locale.ROOT, "cosine %.4f%n", Similarity.cosine(query, passage));
    }
  }
}
