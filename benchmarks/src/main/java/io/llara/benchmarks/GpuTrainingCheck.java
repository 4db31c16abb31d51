package io.llara.benchmarks;

import io.llara.benchmarks.Stopwatch.Spread;
import io.llara.checkpoint.LlamaConfig;
import io.llara.kernels.Accelerator;
import io.llara.kernels.Accelerators;
import io.llara.prompt.PromptBuilder;
import io.llara.tensor.Libtorch;
import io.llara.tensor.Tensors;
import io.llara.train.data.Collator;
import io.llara.train.data.Example;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.pretrain.AdaptationSteps;
import io.llara.train.pretrain.Recipe;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * What a device makes of training, as rows of a Markdown table: steps of adaptation with LoRA of
 * rank 64 and recomputed layers, on joint prompts of 512 tokens, forward, backward and update; and
 * what they take of the device's memory, which libtorch does not give back. In a process of its
 * own. Takes the options of {@link GpuCheck}, of which {@code --encodes} and {@code --peer} mean
 * nothing here.
 *
 * <p>Exit code 1 if LLaMA-2-7B's shape takes more than 40 GB.
 */
public final class GpuTrainingCheck {
  private static final int LENGTH = 512;
  private static final int MARKERS = 8;
  private static final int TARGETS = 100;
  private static final double MOST_GIGABYTES = 40;

  private GpuTrainingCheck() {}

  /** Runs the check. */
  public static void main(String[] args) {
    GpuCheckOptions options = GpuCheckOptions.parseOrExit("GpuTrainingCheck", args);
    CheckTable table = new CheckTable(System.out);
    run(options, table);
    System.exit(table.allHold() ? 0 : 1);
  }

  private static void run(GpuCheckOptions options, CheckTable table) {
    Libtorch.load();
    LlamaConfig config = options.shape().config();
    Optional<Accelerator> device = Accelerators.open(options.device());
    long free = device.map(Accelerator::driverFreeBytes).orElse(0L);
    List<Example> examples = examples(options, config.vocabularySize());
    long tokens = examples.stream().mapToLong(example -> example.prompt().length()).sum();
    try (AdaptationSteps training =
        new AdaptationSteps(
            model(options, config, device), Recipe.RELEASED, AdamW.Settings.DEFAULT, true)) {
      step(training, examples);
      List<Double> speeds = new ArrayList<>();
      for (int round = 0; round < options.rounds(); round++) {
        speeds.add(tokens / Stopwatch.seconds(() -> step(training, examples)));
      }
      Spread spread = Spread.of(speeds);
      table.row(
          "training step, LoRA, %d × %d tokens, tokens/s".formatted(examples.size(), LENGTH),
          "%.0f (%.0f–%.0f)",
          spread.median(),
          spread.min(),
          spread.max());
      if (device.isPresent()) {
        String what = "the same, the device's memory, GB";
        double gigabytes = (free - device.get().driverFreeBytes()) / 1e9;
        if (options.shape() == Shape.LLAMA2_7B) {
          table.atMost(what, gigabytes, MOST_GIGABYTES);
        } else {
          table.value(what, gigabytes);
        }
      }
    }
  }

  private static TrainedModel model(
      GpuCheckOptions options, LlamaConfig config, Optional<Accelerator> device) {
    TrainedModel.Settings settings =
        new TrainedModel.Settings(Tensors.scalarType(options.type()), LENGTH, true, device);
    try (Accelerator.Lane lane = device.map(Accelerator::openLane).orElse(() -> {})) {
      return TrainedModel.lora(config, new LayerWeights(config), settings, LoraOptions.DEFAULT, 1);
    }
  }

  /** Half as many tokens as encoding takes at once. */
  private static List<Example> examples(GpuCheckOptions options, int vocabulary) {
    SplittableRandom random = new SplittableRandom(3);
    int[] self = IntStream.range(2, 2 + MARKERS).toArray();
    int[] next = IntStream.range(2 + MARKERS, 2 + 2 * MARKERS).toArray();
    PromptBuilder prompts = PromptBuilder.ofIds(new int[] {1}, self, next, MARKERS);
    int first = 2 + 2 * MARKERS;
    return Stream.generate(
            () ->
                Collator.fromIds(
                    prompts,
                    random.ints(LENGTH, first, vocabulary).toArray(),
                    random.ints(TARGETS, first, vocabulary).toArray(),
                    random.ints(TARGETS, first, vocabulary).toArray(),
                    LENGTH))
        .limit(Math.max(1, options.tokens() / 2 / LENGTH))
        .toList();
  }

  private static void step(AdaptationSteps training, List<Example> examples) {
    training.run(examples, 0);
    training.clip(1);
    training.update(1e-4);
  }
}
