package io.llara.benchmarks.teachers;

import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.onnx.allminilml6v2.AllMiniLmL6V2EmbeddingModel;
import io.llara.Encoder;
import io.llara.Mode;

/**
 * Embeds one question and prints milliseconds since a given time: when {@code main} was entered,
 * when the model was there, and when the vector was.
 *
 * <p>Arguments: {@code llara}, the default encoder, or {@code minilm}, LangChain4j's
 * all-MiniLM-L6-v2; and the time in milliseconds.
 */
public final class FirstVector {
  private static final String QUESTION = "how do llamas carry loads";

  private FirstVector() {}

  /** Prints three numbers. */
  public static void main(String[] args) {
    long entered = System.currentTimeMillis();
    long loaded;
    float[] vector;
    if (args[0].equals("llara")) {
      // Not closed: that is none of the time, and the process ends.
      Encoder encoder = Encoder.loadDefault();
      loaded = System.currentTimeMillis();
      vector = encoder.encode(QUESTION, Mode.NEXT);
    } else {
      EmbeddingModel model = new AllMiniLmL6V2EmbeddingModel();
      loaded = System.currentTimeMillis();
      vector = model.embed(QUESTION).content().vector();
    }
    long done = System.currentTimeMillis();
    if (!(Math.abs(vector[0]) <= 1)) {
      throw new IllegalStateException("the vector begins with " + vector[0]);
    }
    long begin = Long.parseLong(args[1]);
    System.out.println((entered - begin) + " " + (loaded - begin) + " " + (done - begin));
  }
}
