package io.llara.train.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.within;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.Stories;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelRotatorTest {
  private static final int HIDDEN = 64;
  private static final List<String> WORDS =
      List.of("bird", "tree", "girl", "ball", "dog", "mother", "sun", "house", "cat", "boat");

  @TempDir private Path dir;

  private final List<String> texts =
      IntStream.range(0, 100)
          .mapToObj(i -> "The %s saw a %s.".formatted(WORDS.get(i % 10), WORDS.get(i / 10)))
          .toList();
  private Path model;
  private Path rotated;

  @BeforeEach
  void directories() {
    model = Directories.copy(Stories.dir(), dir.resolve("model"));
    new LlaraJson(PromptTemplate.PAPER, true, OptionalInt.empty(), OptionalInt.empty())
        .write(model);
    rotated = dir.resolve("rotated");
  }

  private List<float[]> encode(Path from, int dimension) {
    return encode(from, dimension, ComputeType.FLOAT32);
  }

  private List<float[]> encode(Path from, int dimension, ComputeType type) {
    try (Encoder encoder =
        Encoder.builder(from).computeType(type).dimension(dimension).threads(1).build()) {
      return encoder.encodeAll(texts, Mode.SELF);
    }
  }

  /** The mean distance between the cosines of texts and those by other vectors of them. */
  private static double distance(List<float[]> vectors, List<float[]> others) {
    double sum = 0;
    for (int i = 1; i < vectors.size(); i++) {
      double whole = Similarity.cosine(vectors.get(i), vectors.get(i - 1));
      sum += Math.abs(whole - Similarity.cosine(others.get(i), others.get(i - 1)));
    }
    return sum / (vectors.size() - 1);
  }

  @Test
  void wholeVectorsAreAsSimilarAsTheyWere() {
    ModelRotator.write(model, rotated, texts);

    List<float[]> before = encode(model, HIDDEN);
    List<float[]> after = encode(rotated, HIDDEN);

    assertThat(distance(before, after)).isCloseTo(0, within(1e-5));
    assertThat(Similarity.cosine(before.get(3), after.get(3))).isLessThan(0.9);
  }

  @Test
  void theFirstComponentsSayMost() {
    ModelRotator.write(model, rotated, texts);

    // As the vectors were computed whose axes these are: bfloat16 where it is native.
    List<float[]> vectors = encode(rotated, HIDDEN, ComputeType.AUTO);
    double last = Double.MAX_VALUE;
    for (int component = 0; component < HIDDEN; component++) {
      double energy = 0;
      for (float[] vector : vectors) {
        energy += (double) vector[component] * vector[component];
      }
      assertThat(energy).isLessThanOrEqualTo(last + 1e-5);
      last = energy;
    }
    List<float[]> whole = encode(rotated, HIDDEN);
    assertThat(distance(whole, encode(rotated, 8)))
        .isLessThan(distance(whole, encode(model, 8)) / 2);
  }

  @Test
  void itStaysWithTheModel() {
    ModelRotator.write(model, rotated, texts);
    Path shrunk = dir.resolve("shrunk");
    ModelShrinker.write(rotated, shrunk, List.of(0, 1, 2, 3, 4), OptionalInt.empty());

    assertThat(distance(encode(rotated, 8), encode(shrunk, 8))).isCloseTo(0, within(1e-6));
  }

  @Test
  void whatCannotBeRotatedIsRefused() throws IOException {
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> ModelRotator.write(model, rotated, texts.subList(0, 63)))
        .withMessage(
            "there are 63 texts that are not blank; expected at least 64, as many as a vector has components");
    assertThat(rotated).doesNotExist();
    ModelRotator.write(model, rotated, texts);
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> ModelRotator.write(rotated, dir.resolve("twice"), texts))
        .withMessageContaining("has a linear layer behind its pooling already");
    Files.delete(model.resolve(LlaraJson.FILE_NAME));
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> ModelRotator.write(model, dir.resolve("none"), texts))
        .withMessageContaining("does not say what its prompts are");
  }
}
