package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.checkpoint.LlamaConfig;
import io.llara.tensor.Cpu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * Forward and backward of training, and the bare matrix products of the same: hidden 768, 6 layers,
 * 12 heads, MLP 2048, vocabulary 8,000, all weights trained, no optimiser.
 */
final class TrainingSides implements AutoCloseable {
  private static final LlamaConfig CONFIG =
      LlamaConfig.builder()
          .hiddenSize(768)
          .layers(6)
          .heads(12)
          .intermediateSize(2048)
          .vocabularySize(8_000)
          .tieWordEmbeddings(true)
          .build();

  private final Path dir;
  private final TrainingStep step;
  private final TrainingCeiling ceiling;

  /**
   * What is measured.
   *
   * @param sequences how many, of one length
   * @param length their tokens
   */
  record Work(ComputeType type, int sequences, int length) {
    Work {
      if (sequences < 1 || length < 1) {
        throw new IllegalArgumentException(
            "batch and length must be positive: %d x %d".formatted(sequences, length));
      }
    }

    /** Reads {@code <batch>x<length>}, such as {@code 16x128}. */
    static Work parse(String type, String size) {
      String[] parts = size.split("x", -1);
      if (parts.length != 2) {
        throw new IllegalArgumentException(
            "size is \"" + size + "\"; expected <batch>x<length>, such as 16x128");
      }
      return new Work(Types.parse(type), Integer.parseInt(parts[0]), Integer.parseInt(parts[1]));
    }
  }

  /** Makes both sides, and sees to it that the step trains. */
  TrainingSides(Work work, int lanes) throws IOException {
    dir = Files.createTempDirectory("training-throughput");
    step =
        new TrainingStep(
            CONFIG, Cpu.scalarType(work.type()), work.sequences(), work.length(), lanes, dir);
    ceiling =
        new TrainingCeiling(
            CONFIG, Cpu.scalarType(work.type()), work.sequences(), work.length(), lanes);
    check();
  }

  /** A speed counts only for results that are some; this warms up as well. */
  private void check() {
    double expected = Math.log(CONFIG.vocabularySize());
    for (boolean recompute : new boolean[] {false, true}) {
      double loss = step.run(recompute);
      double norm = step.gradientNorm();
      if (!(Math.abs(loss - expected) < 1) || !(norm > 0) || !Double.isFinite(norm)) {
        throw new IllegalStateException(
            "training is wrong: loss %f, gradient norm %f".formatted(loss, norm));
      }
    }
  }

  TrainingStep step() {
    return step;
  }

  TrainingCeiling ceiling() {
    return ceiling;
  }

  @Override
  public void close() throws IOException {
    ceiling.close();
    step.close();
    try (Stream<Path> files = Files.list(dir)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(dir);
  }
}
