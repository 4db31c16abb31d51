package io.llara.examples;

import io.llara.ComputeType;
import io.llara.train.TrainingListener;
import io.llara.train.data.BadLines;
import io.llara.train.data.StopWords;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.lora.LoraOptions;
import io.llara.train.pretrain.LossWeights;
import io.llara.train.pretrain.Pretrainer;
import io.llara.train.pretrain.Recipe;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The settings of a run, as options; their defaults are those of {@link Pretrainer}. */
final class PretrainOptions {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "The model to begin with: a Hugging Face directory.")
  private Path model = Path.of("");

  @Option(
      names = "--data",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description =
          "JSON lines, .gz or not: {\"text\": …} documents, or {\"input\": …,"
              + " \"output_summarize\": …, \"output_predict\": …} pairs.")
  private List<Path> data = new ArrayList<>();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description =
          "The directory of the run: losses, checkpoints and, at the end, the trained model.")
  private Path out = Path.of("");

  @Option(
      names = "--recipe",
      paramLabel = "released|paper|lm",
      defaultValue = "released",
      description =
          "released: as the published Llama2Vec models, for a model with the sixteen markers;"
              + " paper: as the LLaRA paper; lm: next tokens only, to make a base model (default:"
              + " ${DEFAULT-VALUE}).")
  private Recipe recipe = Recipe.RELEASED;

  @Option(
      names = "--loss-weights",
      paramLabel = "AR,SELF,NEXT",
      split = ",",
      description =
          "How much the three terms of the loss count (default: 1,1,1; 0,1,1 for the recipe paper,"
              + " 1,0,0 for lm).")
  private @Nullable List<Double> lossWeights;

  @Option(
      names = "--lora",
      paramLabel = "R",
      description =
          "Train low-rank updates of rank R of all seven projections, and the markers' embeddings"
              + " (default: with rank 64, except for the recipe lm).")
  private @Nullable Integer loraRank;

  @Option(
      names = "--full",
      description = "Train all parameters instead (default for the recipe lm).")
  private boolean full;

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
      names = "--batch",
      paramLabel = "N",
      description = "Texts of a step, over all processes (default: ${DEFAULT-VALUE}).")
  private int batch = Pretrainer.DEFAULT_BATCH;

  @Option(
      names = "--micro-batches",
      paramLabel = "N",
      description =
          "Run a batch in N parts, one after another: less memory, the same numbers up to rounding"
              + " (default: ${DEFAULT-VALUE}).")
  private int microBatches = 1;

  @Option(
      names = "--lr",
      paramLabel = "X",
      description =
          "The highest learning rate (default: 1e-4 with LoRA, 1e-5 with --full, 5e-4 for the"
              + " recipe lm).")
  private @Nullable Double learningRate;

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
      names = "--max-tokens",
      paramLabel = "N",
      description =
          "The longest prompt with both suffixes, and the longest target; longer ones are cut"
              + " (default: ${DEFAULT-VALUE}).")
  private int maxTokens = Pretrainer.DEFAULT_MAX_TOKENS;

  @Option(
      names = "--passage-tokens",
      paramLabel = "N",
      description =
          "The longest passage that documents are cut into (default: what a prompt has room for).")
  private @Nullable Integer passageTokens;

  @Option(
      names = "--stop-words",
      paramLabel = "FILE",
      description =
          "Words that the recipe released leaves out of targets, one a line (default: English"
              + " function words).")
  private @Nullable Path stopWords;

  @Option(
      names = "--skip-bad-lines",
      description = "Leave out lines that cannot be read; by default the first one is an error.")
  private boolean skipBadLines;

  @Option(
      names = "--hold-out",
      paramLabel = "F",
      description =
          "The share of documents, from 0 to below 1, that is not trained on but evaluated"
              + " (default: ${DEFAULT-VALUE}).")
  private double holdOut;

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

  @Option(
      names = "--visible-self",
      description = "Let NEXT see SELF, to measure what hiding it is for.")
  private boolean visibleSelf;

  Path out() {
    return out;
  }

  /** Puts the settings together. */
  Pretrainer.Builder builder(Optional<WorldSettings> world, TrainingListener listener) {
    Pretrainer.Builder builder =
        Pretrainer.builder(model, data, out)
            .recipe(recipe)
            .batch(batch)
            .microBatches(microBatches)
            .weightDecay(weightDecay)
            .clip(clip)
            .maxTokens(maxTokens)
            .badLines(skipBadLines ? BadLines.SKIP : BadLines.REFUSE)
            .heldOut(holdOut)
            .evaluateEvery(evaluateEvery)
            .saveEvery(saveEvery)
            .seed(seed.value())
            .computeType(computeType)
            .recompute(recompute)
            .visibleSelf(visibleSelf)
            .listener(listener);
    requireOneAtMost("--lora", loraRank != null, "--full", full);
    requireOneAtMost("--steps", steps != null, "--epochs", epochs != null);
    lora().ifPresentOrElse(builder::lora, builder::fullParameters);
    if (steps != null) {
      builder.steps(steps);
    }
    if (epochs != null) {
      builder.epochs(epochs);
    }
    if (lossWeights != null) {
      builder.weights(weights(lossWeights));
    }
    if (learningRate != null) {
      builder.learningRate(learningRate);
    }
    if (warmup != null) {
      builder.warmup(warmup);
    }
    if (passageTokens != null) {
      builder.passageTokens(passageTokens);
    }
    if (stopWords != null) {
      builder.stopWords(StopWords.read(stopWords));
    }
    if (threads != null) {
      builder.threads(threads);
    }
    world.ifPresent(builder::world);
    return builder;
  }

  private LossWeights weights(List<Double> given) {
    if (given.size() != 3) {
      throw refusal(
          "--loss-weights takes three numbers, of ar_loss, self_loss and next_loss, not %d"
              .formatted(given.size()));
    }
    return new LossWeights(given.get(0), given.get(1), given.get(2));
  }

  private Optional<LoraOptions> lora() {
    LoraOptions options = LoraOptions.DEFAULT;
    if (full || loraRank == null && recipe == Recipe.LM) {
      if (loraAlpha != null || loraDropout != null) {
        throw refusal(
            "%s is for LoRA, and all parameters are trained; give --lora R or leave it out"
                .formatted(loraAlpha != null ? "--lora-alpha" : "--lora-dropout"));
      }
      return Optional.empty();
    }
    if (loraRank != null) {
      options = options.withRank(loraRank);
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
