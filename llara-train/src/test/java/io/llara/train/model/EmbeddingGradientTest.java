package io.llara.train.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.lora.LoraOptions;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TinyLlama;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where the gradients of rows of tokens go: ids 3, 17, 3 and 5 with gradients 1, 2, 3 and 4. */
class EmbeddingGradientTest {
  private static final int HIDDEN = 8;
  private static final int[] IDS = {3, 17, 3, 5};
  private static final int[] ROWS = {3, 17, 39};

  @TempDir Path dir;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  private TrainedModel model(boolean tied, boolean lora) {
    CheckpointDirectory checkpoint =
        CheckpointDirectory.open(TinyLlama.write(dir, TinyLlama.config(1, tied, false), 4));
    return lora
        ? TrainedModel.lora(
            checkpoint,
            new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, true),
            LoraOptions.DEFAULT.withRank(2),
            ROWS,
            1)
        : TrainedModel.full(
            checkpoint, new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, true));
  }

  /** The gradients of rows by parameter, as delivered; the head's losses add 0.5 everywhere. */
  private static Map<String, List<Float>> delivered(TrainedModel model) {
    Map<String, List<Float>> delivered = new LinkedHashMap<>();
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope();
        EmbeddingGradient gradient = new EmbeddingGradient(model)) {
      gradient
          .head()
          .add(
              torch.full(new long[] {1, TinyLlama.VOCABULARY}, new Scalar(0.5)),
              torch.full(new long[] {1, HIDDEN}, new Scalar(1.0)));
      gradient.deliverHead(
          (parameter, sum) -> delivered.put(parameter.name(), rows(Tensors.toFloats(sum))));
      gradient.deliverEmbedding(
          IDS,
          torch
              .arange(new Scalar(1), new Scalar(5))
              .to(ScalarType.Float)
              .unsqueeze(1)
              .expand(4, HIDDEN),
          (parameter, sum) -> delivered.put(parameter.name(), rows(Tensors.toFloats(sum))));
    }
    return delivered;
  }

  /** One value for each row, which all of its columns must have. */
  private static List<Float> rows(float[] values) {
    Float[] rows = new Float[values.length / HIDDEN];
    for (int row = 0; row < rows.length; row++) {
      rows[row] = values[row * HIDDEN];
      assertThat(Arrays.copyOfRange(values, row * HIDDEN, (row + 1) * HIDDEN))
          .containsOnly(rows[row]);
    }
    return List.of(rows);
  }

  private static List<Float> matrix(float everywhere, float three, float five, float seventeen) {
    Float[] rows = new Float[TinyLlama.VOCABULARY];
    Arrays.fill(rows, everywhere);
    rows[3] += three;
    rows[5] += five;
    rows[17] += seventeen;
    return List.of(rows);
  }

  @Test
  void twoMatricesHaveTwoGradientsTheHeadsFirst() {
    try (TrainedModel model = model(false, false)) {
      Map<String, List<Float>> delivered = delivered(model);
      assertThat(delivered.keySet()).containsExactly("lm_head.weight", "embed_tokens.weight");
      assertThat(delivered)
          .containsEntry("lm_head.weight", matrix(0.5f, 0, 0, 0))
          .containsEntry("embed_tokens.weight", matrix(0, 4, 4, 2));
    }
  }

  @Test
  void oneMatrixForBothHasTheirSum() {
    try (TrainedModel model = model(true, false)) {
      assertThat(delivered(model))
          .containsExactly(Map.entry("embed_tokens.weight", matrix(0.5f, 4, 4, 2)));
    }
  }

  @Test
  void trainedRowsTakeTheirOwnOnly() {
    try (TrainedModel model = model(false, true)) {
      assertThat(delivered(model))
          .containsExactly(Map.entry("embed_tokens.rows", List.of(4f, 2f, 0f)));
    }
  }

  @Test
  void trainedRowsOfOneMatrixForBothHaveTheirSum() {
    try (TrainedModel model = model(true, true)) {
      assertThat(delivered(model))
          .containsExactly(Map.entry("embed_tokens.rows", List.of(4.5f, 2.5f, 0.5f)));
    }
  }

  @Test
  void aPassThatIsGivenUpLeavesNothing() throws Throwable {
    try (TrainedModel model = model(false, false);
        TrainedModel other = model(true, true)) {
      Leaks.assertNone(
          () -> {
            for (TrainedModel one : List.of(model, other)) {
              delivered(one);
              try (EmbeddingGradient gradient = new EmbeddingGradient(one)) {
                gradient.head();
              }
            }
          });
    }
  }
}
