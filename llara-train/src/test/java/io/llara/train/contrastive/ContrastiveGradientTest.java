package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.Mode;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.TensorEntry;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import io.llara.testing.ReferenceLlama;
import io.llara.train.contrastive.ContrastiveSteps.Outcome;
import io.llara.train.optim.AdamW;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TinyLlama;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The gradient of the whole loss against central differences: of a forward pass and a loss in
 * float64, written by their definitions, as a function of the numbers in the checkpoint.
 */
class ContrastiveGradientTest {
  private static final double STEP = 1e-3;

  /** Float32 against float64, relative to the largest gradient of a tensor. */
  private static final double TOLERANCE = 3e-4;

  private static final int SAMPLES = 2;
  private static final TinyPairs PAIRS = TinyPairs.random(3, 2, 6);

  @TempDir Path dir;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  @ParameterizedTest
  @CsvSource({
    "true, 0.1, false, 0",
    "true, 0.5, true, 2",
    "false, 1, true, 0",
    "false, 2, false, 4"
  })
  void gradientsAreThoseOfTheLoss(
      boolean normalized, double temperature, boolean tied, int subBatch) throws IOException {
    Path model = TinyLlama.write(dir, TinyLlama.config(2, tied, false), 12);
    InfoNce loss = new InfoNce(temperature, normalized);
    Map<String, float[]> gradients;
    try (ContrastiveSteps steps =
        new ContrastiveSteps(
            TinyLlama.trained(model, false), loss, AdamW.Settings.DEFAULT, subBatch)) {
      Outcome outcome = steps.run(PAIRS.queries(), PAIRS.passages());
      double expected = reference(model, loss);
      assertThat(outcome.loss()).isCloseTo(expected, within(1e-5 * expected));
      gradients = steps.gradients();
    }
    Map<String, TensorEntry> tensors = CheckpointDirectory.open(model).tensors();
    // A head of its own does not train.
    assertThat(gradients).hasSize(tensors.size() - (tied ? 0 : 1));
    for (Map.Entry<String, float[]> gradient : gradients.entrySet()) {
      check(model, loss, tensors.get(gradient.getKey()), gradient.getValue());
    }
    assertThat(gradients).doesNotContainKey(LlamaTensors.HEAD);
  }

  private static void check(Path model, InfoNce loss, TensorEntry entry, float[] gradient)
      throws IOException {
    double largest = Numbers.largest(gradient);
    assertThat(largest).as(entry.name()).isPositive();
    float[] values = entry.readFloats();
    for (int element : elements(gradient, entry.name())) {
      float above = (float) (values[element] + STEP);
      float below = (float) (values[element] - STEP);
      write(entry, element, above);
      double plus = reference(model, loss);
      write(entry, element, below);
      double minus = reference(model, loss);
      write(entry, element, values[element]);
      assertThat((double) gradient[element])
          .as("%s[%s]", entry.name(), element)
          .isCloseTo((plus - minus) / ((double) above - below), within(TOLERANCE * largest));
    }
  }

  /** The element with the largest gradient, and some at random. */
  private static int[] elements(float[] gradient, String name) {
    int best = 0;
    for (int i = 0; i < gradient.length; i++) {
      best = Math.abs(gradient[i]) > Math.abs(gradient[best]) ? i : best;
    }
    return IntStream.concat(
            IntStream.of(best), new Random(name.hashCode()).ints(SAMPLES, 0, gradient.length))
        .toArray();
  }

  private static void write(TensorEntry entry, int element, float value) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(entry.file().toFile(), "rw")) {
      file.seek(entry.offset() + (long) Float.BYTES * element);
      file.write(
          ByteBuffer.allocate(Float.BYTES).order(ByteOrder.LITTLE_ENDIAN).putFloat(value).array());
    }
  }

  private static double reference(Path model, InfoNce loss) {
    ReferenceLlama llama = new ReferenceLlama(CheckpointDirectory.open(model));
    return ReferenceInfoNce.loss(
        embeddings(llama, PAIRS.queries(), Mode.NEXT),
        embeddings(llama, PAIRS.passages(), Mode.SELF),
        PAIRS.group(),
        loss.temperature(),
        loss.normalized());
  }

  private static double[][] embeddings(ReferenceLlama llama, List<Prompt> prompts, Mode mode) {
    return prompts.stream()
        .map(prompt -> mean(llama.hiddenStates(prompt), prompt.pooled(mode)))
        .toArray(double[][]::new);
  }

  private static double[] mean(double[][] hidden, TokenRange markers) {
    double[] mean = new double[hidden[0].length];
    for (int row = markers.begin(); row < markers.end(); row++) {
      for (int i = 0; i < mean.length; i++) {
        mean[i] += hidden[row][i] / markers.length();
      }
    }
    return mean;
  }
}
