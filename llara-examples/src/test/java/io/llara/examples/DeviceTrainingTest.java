package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.StorageType;
import io.llara.cuda.DisguisedAccelerators;
import io.llara.kernels.Accelerator;
import io.llara.kernels.Accelerators;
import io.llara.model.WeightSource;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.tensor.TensorScope;
import io.llara.testing.Leaks;
import io.llara.testing.RandomCheckpoint;
import io.llara.testing.Stories;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.contrastive.ContrastiveSteps;
import io.llara.train.contrastive.ContrastiveTrainer;
import io.llara.train.contrastive.InfoNce;
import io.llara.train.data.Collator;
import io.llara.train.data.Example;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.pretrain.AdaptationSteps;
import io.llara.train.pretrain.Recipe;
import io.llara.train.run.TrainingSteps;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Training by the kernels for GPUs, on the processor, beside that by the processor's own; and a
 * step of a model of 7 billion parameters on libtorch's meta device.
 */
class DeviceTrainingTest {
  private static final int VOCABULARY = 200;
  private static final int POSITIONS = 64;

  @TempDir private static Path shared;

  private static CheckpointDirectory checkpoint;

  @TempDir private Path dir;

  @BeforeAll
  static void prepare() {
    LlamaConfig config =
        LlamaConfig.builder()
            .hiddenSize(32)
            .intermediateSize(56)
            .layers(3)
            .heads(4)
            .kvHeads(2)
            .vocabularySize(VOCABULARY)
            .maxPositionEmbeddings(POSITIONS)
            .build();
    checkpoint =
        CheckpointDirectory.open(RandomCheckpoint.write(shared, config, StorageType.F32, 7));
  }

  private static PromptBuilder prompts(int markers) {
    return PromptBuilder.ofIds(
        new int[] {1},
        IntStream.range(150, 152 + markers).toArray(),
        IntStream.range(170, 171 + markers).toArray(),
        markers);
  }

  private static TrainedModel load(String device, boolean full, boolean head) {
    TrainedModel.Settings settings =
        new TrainedModel.Settings(ScalarType.Float, POSITIONS, head, Accelerators.open(device));
    return full
        ? TrainedModel.full(checkpoint, settings)
        : TrainedModel.lora(
            checkpoint,
            settings,
            LoraOptions.DEFAULT.withRank(4).withDropout(0.1),
            new int[] {150, 151, 170},
            5);
  }

  /** What some steps came to. */
  private record Steps(
      List<Double> losses, Map<String, float[]> gradients, Map<String, float[]> parameters) {}

  private interface Loss<S> {
    double run(S steps);
  }

  private static <S extends TrainingSteps> Steps steps(S training, Loss<S> loss) {
    List<Double> losses = new ArrayList<>();
    Map<String, float[]> gradients = Map.of();
    for (int step = 0; step < 4; step++) {
      losses.add(loss.run(training));
      if (step == 1) { // At first the inner factors of LoRA have no gradient.
        gradients = training.gradients();
      }
      training.clip(1);
      training.update(1e-3);
    }
    return new Steps(losses, gradients, training.parameters());
  }

  private static void assertAlike(Steps actual, Steps expected) {
    for (int i = 0; i < expected.losses().size(); i++) {
      assertThat(actual.losses().get(i))
          .isCloseTo(expected.losses().get(i), within(1e-5 * (1 + expected.losses().get(i))));
    }
    assertThat(expected.losses().get(3)).isLessThan(expected.losses().get(0));
    assertAlike(actual.gradients(), expected.gradients(), 1e-4);
    // Where a gradient is nothing but rounding, the optimiser moves as far as elsewhere.
    assertAlike(actual.parameters(), expected.parameters(), 1e-3);
  }

  /** Relative to the length of each. */
  private static void assertAlike(
      Map<String, float[]> actual, Map<String, float[]> expected, double tolerance) {
    assertThat(actual).hasSameSizeAs(expected);
    expected.forEach(
        (name, values) -> {
          double length = 0;
          double difference = 0;
          for (int i = 0; i < values.length; i++) {
            length += values[i] * values[i];
            difference += Math.pow(values[i] - actual.get(name)[i], 2);
          }
          assertThat(Math.sqrt(difference))
              .as(name)
              .isLessThanOrEqualTo(tolerance * Math.sqrt(length) + 1e-7);
        });
  }

  private static List<Example> examples() {
    Random random = new Random(3);
    return IntStream.range(0, 5)
        .mapToObj(
            i ->
                Collator.fromIds(
                    prompts(3),
                    random.ints(4 + 5 * i, 2, 150).toArray(),
                    random.ints(6, 3, 150).toArray(),
                    random.ints(4, 3, 150).toArray(),
                    POSITIONS))
        .toList();
  }

  @ParameterizedTest
  @CsvSource({"true, false", "false, false", "true, true", "false, true"})
  void adaptationIsThatOfTheProcessor(boolean full, boolean recompute) throws Throwable {
    List<Example> examples = examples();
    Map<String, Steps> found = new HashMap<>();
    for (String device : List.of("cpu", "neutral")) {
      try (AdaptationSteps training =
          new AdaptationSteps(
              load(device, full, true), Recipe.RELEASED, AdamW.Settings.DEFAULT, recompute)) {
        found.put(device, steps(training, steps -> steps.run(examples, 0).get("loss")));
        if (device.equals("neutral")) {
          Leaks.assertNone(() -> training.run(examples, 0));
        }
      }
    }
    assertAlike(found.get("neutral"), found.get("cpu"));
  }

  @ParameterizedTest
  @CsvSource({"true, 0", "false, 0", "false, 3"})
  void theContrastiveStageIsThatOfTheProcessor(boolean full, int subBatch) {
    Random random = new Random(4);
    List<Prompt> queries =
        IntStream.range(0, 3)
            .mapToObj(i -> prompts(2).fromIds(random.ints(3 + i, 2, 150).toArray(), Mode.NEXT))
            .toList();
    List<Prompt> passages =
        IntStream.range(0, 9)
            .mapToObj(i -> prompts(2).fromIds(random.ints(20 - i, 2, 150).toArray(), Mode.SELF))
            .toList();
    Map<String, Steps> found = new HashMap<>();
    for (String device : List.of("cpu", "neutral")) {
      try (ContrastiveSteps training =
          new ContrastiveSteps(
              load(device, full, false),
              new InfoNce(0.05, true),
              AdamW.Settings.DEFAULT,
              subBatch)) {
        found.put(device, steps(training, steps -> steps.run(queries, passages).loss()));
      }
    }
    assertAlike(found.get("neutral"), found.get("cpu"));
  }

  /** LLaMA-2-7B's shape, with the sixteen markers. */
  private static final LlamaConfig LLAMA_2_7B =
      LlamaConfig.builder()
          .hiddenSize(4096)
          .intermediateSize(11008)
          .layers(32)
          .heads(32)
          .kvHeads(32)
          .vocabularySize(32016)
          .build();

  /** One zero in the place of all elements. */
  private static final WeightSource ZEROS =
      new WeightSource() {
        @Override
        public boolean has(String name) {
          return LlamaTensors.all(LLAMA_2_7B).containsKey(name);
        }

        @Override
        public Tensor load(String name, ScalarType type, Use use) {
          try (TensorScope scope = new TensorScope()) {
            return scope.own(
                torch.zeros(1).to(type).expand(LlamaTensors.all(LLAMA_2_7B).get(name)));
          }
        }

        @Override
        public ScalarType storedType(String name, ScalarType preferred) {
          return preferred;
        }
      };

  private static TrainedModel weightless(boolean head) {
    Accelerator meta = DisguisedAccelerators.meta(ComputeType.BFLOAT16);
    return TrainedModel.lora(
        LLAMA_2_7B,
        ZEROS,
        new TrainedModel.Settings(ScalarType.BFloat16, 600, head, Optional.of(meta)),
        LoraOptions.DEFAULT.withDropout(0.1),
        5);
  }

  private static void assertOnDevice(TrainedModel model) {
    assertThat(model.parameters()).hasSize(32 * 7 * 2);
    assertThat(model.parameters())
        .allMatch(parameter -> parameter.master().is_meta() && parameter.leaf().is_meta());
  }

  @Test
  void adaptationOfSevenBillionParametersStaysOnTheDevice() {
    Random random = new Random(5);
    List<Example> examples =
        IntStream.range(0, 2)
            .mapToObj(
                i ->
                    Collator.fromIds(
                        prompts(8),
                        random.ints(500, 2, 150).toArray(),
                        random.ints(100, 3, 32000).toArray(),
                        random.ints(100, 3, 32000).toArray(),
                        512))
            .toList();
    TrainedModel model = weightless(true);
    try (AdaptationSteps training =
        new AdaptationSteps(model, Recipe.RELEASED, AdamW.Settings.DEFAULT, true)) {
      assertOnDevice(model);

      assertThat(training.run(examples, 0)).containsKeys("loss", "ar_loss", "self_loss");

      assertMoves(training);
    }
  }

  @Test
  void theContrastiveStageOfSevenBillionParametersStaysOnTheDevice() {
    Prompt query = prompts(8).fromIds(new int[20], Mode.NEXT);
    Prompt passage = prompts(8).fromIds(new int[200], Mode.SELF);
    TrainedModel model = weightless(false);
    try (ContrastiveSteps training =
        new ContrastiveSteps(model, new InfoNce(0.02, true), AdamW.Settings.DEFAULT, 2)) {
      assertOnDevice(model);

      training.run(List.of(query, query), Collections.nCopies(4, passage));

      assertMoves(training);
    }
  }

  /** Libtorch's fused optimiser has no kernel for the meta device: it is the last to be reached. */
  private static void assertMoves(TrainingSteps training) {
    assertThatThrownBy(() -> training.update(1e-4)).hasMessageContaining("aten::_fused_adamw_");
  }

  private ContrastiveTrainer.Builder run(String device, String out) throws IOException {
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 16; i++) {
      lines.add(
          "{\"query\": \"where is dog %d\", \"pos\": [\"dog %d is in the park\"], \"neg\": [\"the cat is big\"]}"
              .formatted(i, i));
    }
    Path pairs = Files.write(dir.resolve("pairs.jsonl"), lines);
    return ContrastiveTrainer.builder(Stories.dir(), List.of(pairs), dir.resolve(out))
        .computeType(ComputeType.FLOAT32)
        .device(device)
        .negatives(1)
        .passageMaxTokens(32)
        .batch(4)
        .steps(4)
        .saveEvery(2);
  }

  private List<JsonObject> metrics(String out) throws IOException {
    return Files.readAllLines(dir.resolve(out).resolve("metrics.jsonl")).stream()
        .map(line -> new Gson().fromJson(line, JsonObject.class))
        .toList();
  }

  @Test
  void aRunOnADeviceIsThatOfTheProcessorAndGoesOnWhereItEnded() throws IOException {
    run("cpu", "processor").threads(1).build().run();
    run("neutral:1", "whole").build().run();
    AtomicReference<ContrastiveTrainer> trainer = new AtomicReference<>();
    ContrastiveTrainer first =
        run("neutral", "parts")
            .listener(
                new TrainingListener() {
                  @Override
                  public void step(StepReport report) {
                    if (report.step() == 2) {
                      trainer.get().stop();
                    }
                  }
                })
            .build();
    trainer.set(first);
    assertThat(first.run().outcome()).isEqualTo(TrainingResult.Outcome.STOPPED);
    assertThatThrownBy(() -> run("cpu", "parts").threads(1).build().run())
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("device: was neutral, now not set");
    assertThat(run("neutral", "parts").build().run().outcome())
        .isEqualTo(TrainingResult.Outcome.COMPLETED);

    for (int step = 0; step < 4; step++) {
      double loss = metrics("whole").get(step).get("loss").getAsDouble();
      assertThat(metrics("parts").get(step).get("loss").getAsDouble()).isEqualTo(loss);
      assertThat(metrics("processor").get(step).get("loss").getAsDouble())
          .isCloseTo(loss, within(1e-4));
    }
    assertThat(dir.resolve("parts/adapter/adapter_model.safetensors"))
        .hasSameBinaryContentAs(dir.resolve("whole/adapter/adapter_model.safetensors"));
  }

  @Test
  void devicesThatCannotBeTrainedOnAreRefused() {
    assertThatThrownBy(() -> run("neutral:7", "no").build().run())
        .isInstanceOf(DeviceException.class)
        .hasMessage("there is no device neutral:7; this machine has neutral:0 to neutral:1");
    assertThatThrownBy(() -> run("neutral:0,1", "no").build().run())
        .isInstanceOf(DeviceException.class)
        .hasMessage("neutral:0,1 is 2 devices; expected one");
    assertThatThrownBy(() -> run("tpu", "no").build().run())
        .isInstanceOf(DeviceException.class)
        .hasMessageContaining("there is no device tpu");
    assertThatThrownBy(() -> run("GPU 1", "no").build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("device is \"GPU 1\"; expected cpu, auto, cuda");
    assertThatThrownBy(() -> run("neutral", "no").computeType(ComputeType.FLOAT16).build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(
            "float16 and float8 are for encoding; models are trained in float32 or");
    assertThat(dir.resolve("no")).doesNotExist();
  }
}
