import io.llara.Encoder;
import io.llara.Mode;

/** Tests {@link TwoTexts} without a model: with an encoder that is a fake. */
public final class TwoTextsTest {
  private TwoTextsTest() {}

  /** Knows llamas from the rest. */
  private static final class FakeEncoder implements Encoder {
    @Override
    public float[] encode(String text, Mode mode) {
      return text.contains("llama") ? new float[] {1, 0} : new float[] {0, 1};
    }

    @Override
    public int dimension() {
      return 2;
    }
  }

  public static void main(String[] args) {
    try (Encoder encoder = new FakeEncoder()) {
      require(1, TwoTexts.cosine(encoder, "What is llama?", "The llama is a camelid."));
      require(0, TwoTexts.cosine(encoder, "What is llama?", "The sea is deep."));
      System.out.println("passed");
    }
  }

  private static void require(double expected, double actual) {
    if (actual != expected) {
      throw new AssertionError("expected " + expected + ", found " + actual);
    }
  }
}
