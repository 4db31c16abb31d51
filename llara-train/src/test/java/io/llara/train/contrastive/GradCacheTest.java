package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.Mode;
import io.llara.Similarity;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.prompt.Prompt;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.Parameter;
import io.llara.train.contrastive.InfoNce.Targets;
import io.llara.train.distributed.Lanes;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.TrainedModel;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TinyLlama;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** However a batch is cut, its gradient is that of the whole. */
class GradCacheTest {
  private static final double TOLERANCE = 1e-5;
  private static final InfoNce LOSS = new InfoNce(0.1, true);
  private static final TinyPairs PAIRS = TinyPairs.random(4, 3, 6);

  @TempDir Path dir;
  private Path checkpoint;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  @BeforeEach
  void write() {
    checkpoint = TinyLlama.write(dir, TinyLlama.config(2, false, true), 12);
  }

  private TrainedModel model(boolean lora, double dropout) {
    CheckpointDirectory directory = CheckpointDirectory.open(checkpoint);
    if (!lora) {
      return TrainedModel.full(
          directory, new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, false));
    }
    TrainedModel model =
        TrainedModel.lora(
            directory,
            new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, false),
            LoraOptions.DEFAULT.withRank(3).withAlpha(2).withDropout(dropout),
            new int[] {7, 30, 38},
            5);
    // As after some training: the outer factors are no zeros.
    for (Parameter parameter : model.parameters()) {
      try (TensorScope scope = new TensorScope()) {
        float[] values = Numbers.random((int) parameter.elements(), parameter.name().hashCode());
        for (int i = 0; i < values.length; i++) {
          values[i] *= 0.3f;
        }
        parameter.set(Tensors.ofFloats(values, parameter.master().shape()));
      }
    }
    model.refresh();
    return model;
  }

  /** What comes out of a batch. */
  private record Step(double loss, Map<String, float[]> gradients) {}

  private static Step step(
      TrainedModel model, int lanes, int subBatch, boolean recompute, long key) {
    return step(model, lanes, subBatch, recompute, key, () -> {});
  }

  private static Step step(
      TrainedModel model, int laneCount, int subBatch, boolean recompute, long key, Runnable met) {
    List<Parameter> parameters = model.parameters();
    double[] sum = new double[1];
    int queries = PAIRS.queries().size();
    int passages = PAIRS.passages().size();
    GradCache.Loss loss =
        (embeddings, gradient) -> {
          met.run();
          InfoNce.Differentiated result =
              LOSS.differentiate(
                  embeddings.narrow(0, 0, queries),
                  embeddings.narrow(0, queries, passages),
                  new Targets(0, PAIRS.group()),
                  new InfoNce.Scale(1.0 / queries, 0, 0));
          gradient.narrow(0, 0, queries).copy_(result.queryGradient());
          gradient.narrow(0, queries, passages).copy_(result.passageGradient());
          sum[0] = result.sums().loss();
        };
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope();
        Lanes lanes = new Lanes(laneCount);
        GradientAccumulator gradients = new GradientAccumulator(parameters, (total, i) -> {})) {
      GradCache cache = new GradCache(model, lanes, recompute, subBatch);
      gradients.begin(cache.contributors(PAIRS.all().size()));
      cache.train(PAIRS.all(), key, loss, gradients);
      Map<String, float[]> byName = new LinkedHashMap<>();
      List<Tensor> totals = gradients.totals();
      for (int i = 0; i < totals.size(); i++) {
        byName.put(parameters.get(i).name(), Tensors.toFloats(totals.get(i)));
      }
      return new Step(sum[0] / queries, byName);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void everyCuttingGivesTheGradientsOfTheWhole(boolean lora) {
    try (TrainedModel model = model(lora, 0)) {
      Step whole = step(model, 1, 0, false, 0);
      whole.gradients().forEach((name, values) -> assertThat(values).as(name).isNotEmpty());
      for (int lanes : new int[] {1, 2, 3}) {
        for (int subBatch : new int[] {0, 1, 3, 7, 16}) {
          Step cut = step(model, lanes, subBatch, subBatch == 3, 0);
          assertThat(cut.loss()).isCloseTo(whole.loss(), within(TOLERANCE));
          Numbers.assertClose(cut.gradients(), whole.gradients(), TOLERANCE);
        }
      }
      // More lanes than texts: some have nothing to do.
      Numbers.assertClose(step(model, 20, 0, false, 0).gradients(), whole.gradients(), TOLERANCE);
    }
  }

  /** Were something else dropped the second time, this would be the gradient of no loss. */
  @ParameterizedTest
  @CsvSource({"1, 0", "2, 0", "1, 3", "2, 2", "2, 5"})
  void withDropoutTheGradientIsThatOfTheLossThatWasComputed(int lanes, int subBatch) {
    try (TrainedModel model = model(true, 0.5)) {
      Step step = step(model, lanes, subBatch, true, 9);
      assertThat(step(model, lanes, subBatch, false, 9).loss()).isEqualTo(step.loss());
      assertThat(step(model, lanes, subBatch, false, 10).loss())
          .isNotCloseTo(step.loss(), within(1e-3));
      // Along the gradient of the outer factors the loss grows by its length.
      double squares = 0;
      for (Map.Entry<String, float[]> gradient : step.gradients().entrySet()) {
        for (float value : gradient.getValue()) {
          squares += gradient.getKey().contains("lora_B") ? (double) value * value : 0;
        }
      }
      double length = Math.sqrt(squares);
      double reach = 0.002 / length;
      move(model, step, reach / length);
      double above = step(model, lanes, subBatch, false, 9).loss();
      move(model, step, -2 * reach / length);
      double below = step(model, lanes, subBatch, false, 9).loss();
      assertThat((above - below) / (2 * reach)).isCloseTo(length, within(0.02 * length));
    }
  }

  private static void move(TrainedModel model, Step step, double factor) {
    for (Parameter parameter : model.parameters()) {
      if (parameter.name().contains("lora_B")) {
        try (NoGradGuard noGrad = new NoGradGuard();
            TensorScope scope = new TensorScope()) {
          float[] values = Tensors.toFloats(parameter.master());
          float[] gradient = step.gradients().get(parameter.name());
          for (int i = 0; i < values.length; i++) {
            values[i] += (float) (factor * gradient[i]);
          }
          parameter.set(Tensors.ofFloats(values, parameter.master().shape()));
        }
      }
    }
  }

  @Test
  @Timeout(60)
  void aLossThatFailsEndsAllLanes() throws Throwable {
    try (TrainedModel model = model(false, 0)) {
      for (int subBatch : new int[] {0, 2}) {
        Leaks.assertNone(
            () ->
                assertThatThrownBy(
                        () ->
                            step(
                                model,
                                3,
                                subBatch,
                                false,
                                0,
                                () -> {
                                  throw new IllegalStateException("the others have ended");
                                }))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("the others have ended"));
      }
    }
  }

  @Test
  @Timeout(60)
  void aLaneThatFailsEndsTheOthersThatWaitForIt() {
    try (TrainedModel model = model(false, 0);
        TensorScope scope = new TensorScope();
        Lanes lanes = new Lanes(2);
        GradientAccumulator gradients =
            new GradientAccumulator(model.parameters(), (total, i) -> {})) {
      GradCache cache = new GradCache(model, lanes, false, 0);
      gradients.begin(2);
      List<Prompt> prompts =
          List.of(PAIRS.queries().get(0), TinyLlama.prompts(2).fromIds(new int[] {99}, Mode.SELF));
      assertThatThrownBy(
              () ->
                  cache.train(
                      prompts,
                      0,
                      (embeddings, gradient) -> {
                        throw new AssertionError("not all have come");
                      },
                      gradients))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("token id 99");
    }
  }

  @ParameterizedTest
  @CsvSource({"false, 0", "false, 2", "true, 0", "true, 2"})
  void leavesNothing(boolean lora, int subBatch) throws Throwable {
    try (TrainedModel model = model(lora, 0.1)) {
      Leaks.assertNone(() -> step(model, 2, subBatch, true, 0));
    }
  }

  @Test
  void embeddingsAreTheSameHoweverTheyAreCutAndHaveNoDropout() {
    try (TrainedModel model = model(true, 0.5);
        NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope();
        Lanes lanes = new Lanes(2)) {
      PooledRows all = new PooledRows(PAIRS.all());
      float[] direct = Tensors.toFloats(all.mean(model.forward(all.mask, all.rows())));
      for (int subBatch : new int[] {0, 1, 3}) {
        GradCache cache = new GradCache(model, lanes, false, subBatch);
        Numbers.assertClose("embeddings", Tensors.toFloats(cache.embed(PAIRS.all())), direct, 1e-5);
      }
    }
  }

  /** Rows are filled up there, and rounding is coarse. */
  @Test
  void halfPrecisionComesNear() {
    CheckpointDirectory directory = CheckpointDirectory.open(checkpoint);
    try (TrainedModel exact = model(false, 0);
        TrainedModel half =
            TrainedModel.full(
                directory,
                new TrainedModel.Settings(ScalarType.BFloat16, TinyLlama.POSITIONS, false))) {
      Step expected = step(exact, 1, 0, false, 0);
      for (int subBatch : new int[] {0, 3}) {
        Step actual = step(half, 2, subBatch, false, 0);
        assertThat(actual.loss()).isCloseTo(expected.loss(), within(0.05 * expected.loss()));
        actual
            .gradients()
            .forEach(
                (name, values) ->
                    assertThat(Similarity.cosine(values, expected.gradients().get(name)))
                        .as(name)
                        .isGreaterThan(0.95));
      }
    }
  }

  @Test
  void promptsOfBothModesAndSubBatchesBelowNothingAreRefused() {
    try (TrainedModel model = model(false, 0);
        Lanes lanes = new Lanes(1)) {
      assertThatThrownBy(() -> new PooledRows(TinyLlama.joint(1, 3)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("one mode");
      assertThatThrownBy(() -> new GradCache(model, lanes, false, -1))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }
}
