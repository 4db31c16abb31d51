package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.primitives.Ints;
import io.llara.ComputeType;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.StorageType;
import io.llara.engine.EncodingEngine;
import io.llara.engine.EngineBuilder;
import io.llara.model.LlamaModel;
import io.llara.prompt.Prompt;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.Parameter;
import io.llara.train.autograd.Stage;
import io.llara.train.checkpoint.ModelDirectory;
import io.llara.train.data.Collator;
import io.llara.train.data.Example;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.MergedWeights;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.run.Workers;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TinyLlama;
import io.llara.train.testing.TrainingRuns;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A model with low-rank updates against the ordinary model that they merge into: the same hidden
 * states, and gradients that follow from those of the merged weights by the chain rule.
 */
class LoraGradientTest {
  private static final int RANK = 3;
  private static final LoraOptions OPTIONS = LoraOptions.DEFAULT.withRank(RANK).withAlpha(2);
  private static final int[] ROWS = {512, 513, 520, 527};
  private static final double TOLERANCE = 1e-5;

  @TempDir Path dir;
  private Path base;
  private Path merged;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  private TrainedModel model(boolean tied) {
    base = TrainingRuns.model(dir, tied);
    merged = dir.resolve("merged");
    TrainedModel model =
        TrainedModel.lora(
            CheckpointDirectory.open(base),
            new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, true),
            OPTIONS,
            ROWS,
            5);
    // As after some training: the outer factors are no zeros, and the rows not the stored ones.
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
    writeMerged(model);
    return model;
  }

  private void writeMerged(TrainedModel model) {
    try (MergedWeights weights = model.weights()) {
      ModelDirectory.write(base, merged, weights, StorageType.F32, Optional.empty());
    }
  }

  /** Texts with trained rows among their words, and some that are not trained. */
  private static List<Example> examples() {
    Random random = new Random(6);
    List<Example> examples = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      int[] text = Ints.concat(TinyLlama.ids(random, 4), new int[] {ROWS[i]});
      examples.add(
          Collator.fromIds(
              TinyLlama.prompts(2),
              text,
              Ints.concat(new int[] {1}, TinyLlama.ids(random, 4)),
              i == 1 ? new int[] {1} : new int[] {1, ROWS[3], 40},
              TinyLlama.POSITIONS));
    }
    return examples;
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void gradientsFollowFromThoseOfTheMergedWeights(boolean tied) {
    List<Example> examples = examples();
    try (TrainedModel model = model(tied)) {
      Map<String, float[]> actual = gradients(model, examples);
      Map<String, float[]> full;
      try (AdaptationSteps steps =
          new AdaptationSteps(
              TinyLlama.trained(merged, true), Recipe.RELEASED, AdamW.Settings.DEFAULT, false)) {
        steps.run(examples, 1);
        full = steps.gradients();
      }
      Numbers.assertClose(actual, expected(model, full), TOLERANCE);
      actual.forEach((name, values) -> assertThat(Numbers.largest(values)).as(name).isPositive());
    }
  }

  private static Map<String, float[]> gradients(TrainedModel model, List<Example> examples) {
    List<TextExample> batch =
        examples.stream().map(example -> TextExample.of(example, Recipe.RELEASED, 1)).toList();
    try (TensorScope scope = new TensorScope();
        Workers workers = Workers.single(Optional.empty());
        GradientAccumulator gradients =
            new GradientAccumulator(model.parameters(), (total, index) -> {})) {
      AdaptationObjective objective =
          new AdaptationObjective(
              model,
              Recipe.RELEASED,
              Recipe.RELEASED.weights(),
              new AdaptationObjective.Passes(Layout.packed(), 1, false),
              workers);
      gradients.begin(objective.contributors(batch));
      objective.train(batch, objective.counts(batch), 0, gradients);
      Map<String, float[]> byName = new LinkedHashMap<>();
      List<Tensor> totals = gradients.totals();
      for (int i = 0; i < totals.size(); i++) {
        byName.put(model.parameters().get(i).name(), Tensors.toFloats(totals.get(i)));
      }
      return byName;
    }
  }

  /** {@code ∂L/∂A = s Bᵀ ∂L/∂W}, {@code ∂L/∂B = s ∂L/∂W Aᵀ}, and rows are rows. */
  private static Map<String, float[]> expected(TrainedModel model, Map<String, float[]> full) {
    Map<String, float[]> expected = new LinkedHashMap<>();
    for (Parameter parameter : model.parameters()) {
      String name = parameter.name();
      if (name.startsWith("embed_tokens")) {
        expected.put(name, rows(full.get(LlamaTensors.EMBEDDING), model.config().hiddenSize()));
        continue;
      }
      String module = name.replaceFirst("\\.lora_[AB]\\.weight$", "");
      float[] a = values(model, module + ".lora_A.weight");
      float[] b = values(model, module + ".lora_B.weight");
      float[] w = full.get(module + ".weight");
      expected.put(name, name.contains("lora_A") ? inner(w, a, b) : outer(w, a, b));
    }
    return expected;
  }

  private static float[] values(TrainedModel model, String name) {
    try (TensorScope scope = new TensorScope()) {
      return Tensors.toFloats(model.parameter(name).orElseThrow().master());
    }
  }

  private static float[] rows(float[] matrix, int hidden) {
    return Arrays.stream(ROWS)
        .mapToObj(row -> Arrays.copyOfRange(matrix, row * hidden, (row + 1) * hidden))
        .reduce(new float[0], com.google.common.primitives.Floats::concat);
  }

  private static float[] inner(float[] w, float[] a, float[] b) {
    int in = a.length / RANK;
    int out = b.length / RANK;
    float[] gradient = new float[a.length];
    for (int r = 0; r < RANK; r++) {
      for (int i = 0; i < in; i++) {
        double sum = 0;
        for (int o = 0; o < out; o++) {
          sum += (double) b[o * RANK + r] * w[o * in + i];
        }
        gradient[r * in + i] = (float) (OPTIONS.scale() * sum);
      }
    }
    return gradient;
  }

  private static float[] outer(float[] w, float[] a, float[] b) {
    int in = a.length / RANK;
    int out = b.length / RANK;
    float[] gradient = new float[b.length];
    for (int o = 0; o < out; o++) {
      for (int r = 0; r < RANK; r++) {
        double sum = 0;
        for (int i = 0; i < in; i++) {
          sum += (double) w[o * in + i] * a[r * in + i];
        }
        gradient[o * RANK + r] = (float) (OPTIONS.scale() * sum);
      }
    }
    return gradient;
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void theMergedDirectoryGivesTheHiddenStatesOfTheTrainedModel(boolean tied) {
    List<Prompt> prompts = examples().stream().map(Example::prompt).toList();
    try (TrainedModel model = model(tied)) {
      List<float[]> trained = hiddenStates(model, prompts);
      List<float[]> written = hiddenStates(merged, prompts);
      for (int i = 0; i < prompts.size(); i++) {
        Numbers.assertClose("prompt " + i, written.get(i), trained.get(i), TOLERANCE);
      }
      assertThat(hiddenStates(base, prompts).get(0)).isNotEqualTo(written.get(0));
    }
  }

  private static List<float[]> hiddenStates(Path dir, List<Prompt> prompts) {
    EngineBuilder options = EncodingEngine.builder().computeType(ComputeType.FLOAT32).threads(1);
    try (EncodingEngine engine = options.open(CheckpointDirectory.open(dir))) {
      return engine.hiddenStates(prompts);
    }
  }

  private static List<float[]> hiddenStates(TrainedModel model, List<Prompt> prompts) {
    List<float[]> states = new ArrayList<>();
    for (Prompt prompt : prompts) {
      try (NoGradGuard noGrad = new NoGradGuard();
          TensorScope scope = new TensorScope()) {
        AttentionMask mask = AttentionMaskFactory.create(List.of(prompt), Layout.packed());
        int[] rows = new int[prompt.length()];
        Arrays.setAll(rows, row -> row);
        LlamaModel.Pass pass = model.model().pass(mask, rows);
        Tensor hidden = pass.embed();
        for (Stage stage : model.stages(pass)) {
          hidden = stage.function().apply(hidden);
        }
        states.add(Tensors.toFloats(hidden));
      }
    }
    return states;
  }
}
