package io.llara.examples;

import io.llara.train.TrainingListener;
import io.llara.train.data.StopWords;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.pretrain.LossWeights;
import io.llara.train.pretrain.Pretrainer;
import io.llara.train.pretrain.Recipe;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The settings of a run, as options; their defaults are those of {@link Pretrainer}. */
final class PretrainOptions {
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
      names = "--hold-out",
      paramLabel = "F",
      description =
          "The share of documents, from 0 to below 1, that is not trained on but evaluated"
              + " (default: ${DEFAULT-VALUE}).")
  private double holdOut;

  @Option(
      names = "--visible-self",
      description = "Let NEXT see SELF, to measure what hiding it is for.")
  private boolean visibleSelf;

  @Mixin private TrainingOptions training = new TrainingOptions();

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
            .maxTokens(maxTokens)
            .heldOut(holdOut)
            .visibleSelf(visibleSelf)
            .listener(listener);
    training.applyTo(builder, loraRank, full, recipe == Recipe.LM);
    training.applyTo(builder);
    if (lossWeights != null) {
      builder.weights(weights(lossWeights));
    }
    if (learningRate != null) {
      builder.learningRate(learningRate);
    }
    if (passageTokens != null) {
      builder.passageTokens(passageTokens);
    }
    if (stopWords != null) {
      builder.stopWords(StopWords.read(stopWords));
    }
    world.ifPresent(builder::world);
    return builder;
  }

  private LossWeights weights(List<Double> given) {
    if (given.size() != 3) {
      throw training.refusal(
          "--loss-weights takes three numbers, of ar_loss, self_loss and next_loss, not %d"
              .formatted(given.size()));
    }
    return new LossWeights(given.get(0), given.get(1), given.get(2));
  }
}
