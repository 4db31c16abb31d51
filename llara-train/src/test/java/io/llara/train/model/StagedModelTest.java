package io.llara.train.model;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.Streams;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.kernels.GradientTape;
import io.llara.model.LlamaModel;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.autograd.Parameter;
import io.llara.train.autograd.Stage;
import io.llara.train.autograd.StagedBackward;
import io.llara.train.lora.LoraOptions;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TinyLlama;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Differentiating a model stage by stage equals one recorded pass, however it is cut. */
class StagedModelTest {
  private static final int LAYERS = 4;
  private static final double TOLERANCE = 1e-6;
  private static final long PASS = 77;

  /** Kinds of models. */
  enum Kind {
    FULL,
    FULL_WITH_BIASES,
    LORA,
    LORA_WITH_DROPOUT
  }

  @TempDir Path dir;
  private NoGradGuard noGrad;
  private TensorScope scope;

  /** What comes out of a pass, as arrays. */
  private record Result(float[] output, Map<String, float[]> gradients) {}

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  @BeforeEach
  void begin() {
    noGrad = new NoGradGuard();
    scope = new TensorScope();
  }

  @AfterEach
  void end() {
    scope.close();
    noGrad.close();
  }

  private TrainedModel model(Kind kind) {
    CheckpointDirectory checkpoint =
        CheckpointDirectory.open(
            TinyLlama.write(
                dir, TinyLlama.config(LAYERS, false, kind == Kind.FULL_WITH_BIASES), 3));
    if (kind == Kind.FULL || kind == Kind.FULL_WITH_BIASES) {
      return TrainedModel.full(
          checkpoint, new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, true));
    }
    LoraOptions options =
        LoraOptions.DEFAULT.withRank(3).withDropout(kind == Kind.LORA_WITH_DROPOUT ? 0.3 : 0);
    TrainedModel model =
        TrainedModel.lora(
            checkpoint,
            new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, true),
            options,
            new int[0],
            5);
    // The outer factors begin as zeros, and nothing would flow into the inner ones.
    for (Parameter parameter : model.parameters()) {
      try (TensorScope inner = new TensorScope()) {
        parameter.set(
            Tensors.ofFloats(
                Numbers.random((int) parameter.elements(), parameter.name().hashCode()),
                parameter.master().shape()));
      }
    }
    return model;
  }

  private static AttentionMask mask() {
    return AttentionMaskFactory.create(TinyLlama.joint(3, 9), Layout.packed());
  }

  /** Every other row, and the last. */
  private static int[] rows(AttentionMask mask) {
    return IntStream.range(0, mask.rows())
        .filter(row -> row % 2 == 1 || row == mask.rows() - 1)
        .toArray();
  }

  private static Tensor outputGradient(Tensor output) {
    return Tensors.ofFloats(Numbers.random((int) output.numel(), 21), output.shape());
  }

  private static Result inOnePass(TrainedModel model) {
    try (TensorScope inner = new TensorScope();
        GradientTape tape = new GradientTape()) {
      AttentionMask mask = mask();
      LlamaModel.Pass pass = model.model().pass(mask, rows(mask));
      Tensor input = pass.embed();
      input.requires_grad_(true);
      Tensor output = tape.record(() -> join(model.stages(pass)).function().apply(input));
      List<Parameter> parameters = parameters(model.stages(pass));
      TensorVector inputs = new TensorVector(input);
      parameters.forEach(parameter -> inputs.push_back(parameter.leaf()));
      TensorVector gradients = tape.differentiate(output, outputGradient(output.detach()), inputs);
      Map<String, float[]> byName = new LinkedHashMap<>();
      byName.put("input", Tensors.toFloats(gradients.get(0)));
      for (int i = 0; i < parameters.size(); i++) {
        byName.put(parameters.get(i).name(), Tensors.toFloats(gradients.get(i + 1)));
      }
      return new Result(Tensors.toFloats(output.detach()), byName);
    }
  }

  private static List<Parameter> parameters(List<Stage> stages) {
    return stages.stream().flatMap(stage -> stage.parameters().stream()).toList();
  }

  private static Result inStages(TrainedModel model, int cuts, boolean recompute) {
    try (TensorScope inner = new TensorScope()) {
      AttentionMask mask = mask();
      LlamaModel.Pass pass = model.model().pass(mask, rows(mask));
      Map<String, float[]> byName = new LinkedHashMap<>();
      try (StagedBackward staged = new StagedBackward(cut(model.stages(pass), cuts), recompute)) {
        Tensor output = staged.forward(pass.embed());
        Tensor input =
            staged.backward(
                outputGradient(output),
                (parameter, gradient) ->
                    assertThat(byName.put(parameter.name(), Tensors.toFloats(gradient))).isNull());
        byName.put("input", Tensors.toFloats(input));
        return new Result(Tensors.toFloats(output), byName);
      }
    }
  }

  /** Joins neighbours: bit i says whether there is a cut behind stage i. */
  private static List<Stage> cut(List<Stage> stages, int cuts) {
    List<Stage> joined = new ArrayList<>();
    List<Stage> together = new ArrayList<>();
    for (int i = 0; i < stages.size(); i++) {
      together.add(stages.get(i));
      if (i == stages.size() - 1 || (cuts >> i & 1) == 1) {
        joined.add(join(List.copyOf(together)));
        together.clear();
      }
    }
    return joined;
  }

  private static Stage join(List<Stage> parts) {
    return new Stage(
        input -> {
          Tensor x = input;
          for (Stage part : parts) {
            x = part.function().apply(x);
          }
          return x;
        },
        parameters(parts));
  }

  static Stream<Arguments> kinds() {
    return Streams.concat(
        Stream.of(Kind.values()).map(kind -> Arguments.of(kind, false)),
        Stream.of(Kind.values()).map(kind -> Arguments.of(kind, true)));
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void equalsOneRecordedPassForEveryWayOfCutting(Kind kind, boolean recompute) {
    try (TrainedModel model = model(kind)) {
      model.dropout().start(PASS);
      Result expected = inOnePass(model);
      assertThat(expected.gradients()).hasSize(1 + parameters(model).size());
      // A gradient of zeros would equal anything that was left out.
      expected
          .gradients()
          .forEach((name, values) -> assertThat(Numbers.largest(values)).as(name).isPositive());
      // All places between the layers and the norm, in all combinations: 1 stage to 5.
      for (int cuts = 0; cuts < 1 << LAYERS; cuts++) {
        Result actual = inStages(model, cuts, recompute);
        Numbers.assertClose("output", actual.output(), expected.output(), TOLERANCE);
        Numbers.assertClose(actual.gradients(), expected.gradients(), TOLERANCE);
      }
    }
  }

  private static List<String> parameters(TrainedModel model) {
    return model.parameters().stream()
        .map(Parameter::name)
        .filter(name -> !name.startsWith("embed_tokens") && !name.startsWith("lm_head"))
        .toList();
  }

  @Test
  void dropoutDependsOnThePassAndIsOffWithoutOne() {
    try (TrainedModel model = model(Kind.LORA_WITH_DROPOUT)) {
      Result without = inStages(model, 0, false);
      model.dropout().start(PASS);
      Result with = inStages(model, 0, false);
      assertThat(inStages(model, 0, false).output()).isEqualTo(with.output());
      model.dropout().start(PASS + 1);
      assertThat(inStages(model, 0, false).output()).isNotEqualTo(with.output());
      assertThat(with.output()).isNotEqualTo(without.output());
      model.dropout().stop();
      assertThat(inStages(model, 0, false).output()).isEqualTo(without.output());
    }
  }

  @Test
  void gradientsComeFromTheNormAndTheLastLayerFirst() {
    try (TrainedModel model = model(Kind.FULL)) {
      List<String> order =
          inStages(model, -1, true).gradients().keySet().stream()
              .map(name -> name.replaceFirst("^layers\\.(\\d+)\\..*", "layer $1"))
              .distinct()
              .toList();
      assertThat(order)
          .containsExactly("norm.weight", "layer 3", "layer 2", "layer 1", "layer 0", "input");
    }
  }

  @Test
  void passesLeakNothing() throws Throwable {
    for (Kind kind : List.of(Kind.FULL, Kind.LORA_WITH_DROPOUT)) {
      try (TrainedModel model = model(kind)) {
        model.dropout().start(PASS);
        for (boolean recompute : new boolean[] {false, true}) {
          Leaks.assertNone(() -> inStages(model, -1, recompute));
          Leaks.assertNone(
              () -> {
                try (TensorScope inner = new TensorScope()) {
                  LlamaModel.Pass pass = model.model().pass(mask(), rows(mask()));
                  try (StagedBackward givenUp = new StagedBackward(model.stages(pass), recompute)) {
                    givenUp.forward(pass.embed());
                  }
                }
              });
        }
      }
    }
  }
}
