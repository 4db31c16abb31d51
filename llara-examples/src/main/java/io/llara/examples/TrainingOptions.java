package io.llara.examples;

import io.llara.ComputeType;
import io.llara.train.data.BadLines;
import io.llara.train.lora.LoraOptions;
import io.llara.train.run.RunBuilder;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The settings that all kinds of training have; their defaults are those of the library. */
final class TrainingOptions {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--lora-alpha",
      paramLabel = "X",
      description = "LoRA updates are scaled by X over the rank (default: 16).")
  private @Nullable Double loraAlpha;

  @Option(
      names = "--lora-dropout",
      paramLabel = "P",
      description = "The share of LoRA's inputs that is dropped at random (default: 0).")
  private @Nullable Double loraDropout;

  @Option(names = "--steps", paramLabel = "N", description = "Make N steps.")
  private @Nullable Long steps;

  @Option(
      names = "--epochs",
      paramLabel = "N",
      description = "Instead of a number of steps: go through the data N times (default: 1).")
  private @Nullable Long epochs;

  @Option(
      names = "--warmup",
      paramLabel = "N",
      description =
          "Steps over which the learning rate rises; then it falls in a straight line (default: a"
              + " thirtieth of the run).")
  private @Nullable Long warmup;

  @Option(
      names = "--weight-decay",
      paramLabel = "X",
      description = "The weight decay of AdamW (default: ${DEFAULT-VALUE}).")
  private double weightDecay;

  @Option(
      names = "--clip",
      paramLabel = "X",
      description =
          "The length that longer gradients are scaled down to; 0: none are (default:"
              + " ${DEFAULT-VALUE}).")
  private double clip = RunBuilder.DEFAULT_CLIP;

  @Option(
      names = "--skip-bad-lines",
      description = "Leave out lines that cannot be read; by default the first one is an error.")
  private boolean skipBadLines;

  @Option(
      names = "--shuffle-buffer",
      paramLabel = "N",
      description =
          "How many texts are held in memory to draw from at random; of files that are sorted by"
              + " topic, more than they have lines (default: ${DEFAULT-VALUE}).")
  private int shuffleBuffer = RunBuilder.DEFAULT_SHUFFLE_BUFFER;

  @Option(
      names = "--evaluate-every",
      paramLabel = "N",
      description = "Steps from one evaluation to the next (default: ${DEFAULT-VALUE}).")
  private long evaluateEvery = RunBuilder.DEFAULT_EVALUATE_EVERY;

  @Option(
      names = "--save-every",
      paramLabel = "N",
      description = "Steps from one checkpoint to the next (default: ${DEFAULT-VALUE}).")
  private long saveEvery = RunBuilder.DEFAULT_SAVE_EVERY;

  @Mixin private SeedOption seed = new SeedOption();

  @Option(
      names = "--threads",
      paramLabel = "N",
      description =
          "How many threads compute, in each process (default: one per processor, divided among the"
              + " processes).")
  private @Nullable Integer threads;

  @Option(
      names = "--dtype",
      paramLabel = "auto|float32|bfloat16",
      defaultValue = "auto",
      description =
          "The type to compute in; auto: bfloat16 where the processor multiplies it; weights and"
              + " sums are float32 in any case (default: ${DEFAULT-VALUE}).")
  private ComputeType computeType = ComputeType.AUTO;

  @Option(
      names = "--recompute",
      description = "Run layers again in the backward pass instead of keeping them: less memory.")
  private boolean recompute;

  long seed() {
    return seed.value();
  }

  ComputeType computeType() {
    return computeType;
  }

  Optional<Integer> threads() {
    return Optional.ofNullable(threads);
  }

  /** Hands the settings to a builder. */
  void applyTo(RunBuilder<?> builder) {
    builder
        .weightDecay(weightDecay)
        .clip(clip)
        .badLines(skipBadLines ? BadLines.SKIP : BadLines.REFUSE)
        .shuffleBuffer(shuffleBuffer)
        .evaluateEvery(evaluateEvery)
        .saveEvery(saveEvery)
        .seed(seed.value())
        .computeType(computeType)
        .recompute(recompute);
    requireOneAtMost("--steps", steps != null, "--epochs", epochs != null);
    if (steps != null) {
      builder.steps(steps);
    }
    if (epochs != null) {
      builder.epochs(epochs);
    }
    if (warmup != null) {
      builder.warmup(warmup);
    }
    if (threads != null) {
      builder.threads(threads);
    }
  }

  /**
   * Says what is trained.
   *
   * @param rank what {@code --lora} says, if it is given
   * @param full whether {@code --full} is given
   * @param fullByDefault whether all parameters train where neither is
   */
  void applyTo(RunBuilder<?> builder, @Nullable Integer rank, boolean full, boolean fullByDefault) {
    requireOneAtMost("--lora", rank != null, "--full", full);
    lora(rank, full || rank == null && fullByDefault)
        .ifPresentOrElse(builder::lora, builder::fullParameters);
  }

  private Optional<LoraOptions> lora(@Nullable Integer rank, boolean full) {
    if (full) {
      if (loraAlpha != null || loraDropout != null) {
        throw refusal(
            "%s is for LoRA, and all parameters are trained; give --lora R or leave it out"
                .formatted(loraAlpha != null ? "--lora-alpha" : "--lora-dropout"));
      }
      return Optional.empty();
    }
    LoraOptions options = LoraOptions.DEFAULT;
    if (rank != null) {
      options = options.withRank(rank);
    }
    if (loraAlpha != null) {
      options = options.withAlpha(loraAlpha);
    }
    if (loraDropout != null) {
      options = options.withDropout(loraDropout);
    }
    return Optional.of(options);
  }

  private void requireOneAtMost(String a, boolean hasA, String b, boolean hasB) {
    if (hasA && hasB) {
      throw refusal("%s and %s exclude each other".formatted(a, b));
    }
  }

  /** Returns the error of options that do not go together. */
  ParameterException refusal(String message) {
    CommandLine line = command.commandLine();
    return new ParameterException(line, message);
  }
}
