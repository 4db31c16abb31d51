package io.llara.examples;

import io.llara.train.TrainingListener;
import io.llara.train.data.StopWords;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.preset.Preset;
import io.llara.train.pretrain.LossWeights;
import io.llara.train.pretrain.Pretrainer;
import io.llara.train.pretrain.Recipe;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Unlabelled text and a model in, an embedding model out. */
@Command(
    name = "pretrain",
    customSynopsis = "llara pretrain --model DIR --data FILE... --out DIR [OPTION...]",
    sortOptions = false,
    description = {
      "Adapts a model to embedding text, using unlabelled text.",
      "",
      "Press Ctrl-C to stop at any time; the same command resumes from the newest complete"
          + " checkpoint in --out. Processes started by torchrun or similar, with RANK, WORLD_SIZE,"
          + " LOCAL_RANK, MASTER_ADDR and MASTER_PORT set, train together.",
      ""
    })
final class PretrainCommand extends Subcommand {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "The model to start from: a Hugging Face directory.")
  private Path model = Path.of("");

  @Option(
      names = "--data",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description =
          "JSON lines, plain or gzipped: {\"text\": …} documents, or {\"input\": …,"
              + " \"output_summarize\": …, \"output_predict\": …} pairs; or DPR's psgs_w100.tsv; or"
              + " folders of .jsonl and .tsv files, which may end in .gz.")
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
          "released: that of the published Llama2Vec models, for models with the sixteen markers;"
              + " paper: that of the LLaRA paper; lm: next-token prediction only, to train a base"
              + " model (default: ${DEFAULT-VALUE}).")
  private Recipe recipe = Recipe.RELEASED;

  @Option(
      names = "--loss-weights",
      paramLabel = "AR,SELF,NEXT",
      split = ",",
      hideParamSyntax = true,
      description =
          "Weights of the three terms of the loss (default: 1,1,1; 0,1,1 for recipe paper; 1,0,0"
              + " for recipe lm).")
  private List<Double> lossWeights = new ArrayList<>();

  @Option(
      names = "--batch",
      paramLabel = "N",
      description =
          "Texts per step, over all processes (default: "
              + Pretrainer.DEFAULT_BATCH
              + "; llara: 8).")
  private Optional<Integer> batch = Optional.empty();

  @Option(
      names = "--micro-batches",
      paramLabel = "N",
      description =
          "Run each batch in N parts, one after another: less memory, the same result up to"
              + " rounding (default: ${DEFAULT-VALUE}).")
  private int microBatches = 1;

  @Option(
      names = "--lr",
      paramLabel = "X",
      description =
          "Peak learning rate (default: 1e-4 with LoRA, 1e-5 with --full, 5e-4 for recipe lm;"
              + " llara: 1e-5).")
  private Optional<Double> learningRate = Optional.empty();

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description =
          "Maximum length of a prompt with both suffixes, and of a target; longer ones are"
              + " truncated (default: "
              + Pretrainer.DEFAULT_MAX_TOKENS
              + "; llara: 128).")
  private Optional<Integer> maxTokens = Optional.empty();

  @Option(
      names = "--passage-tokens",
      paramLabel = "N",
      description =
          "Maximum length of the passages that documents are split into (default: what fits in a"
              + " prompt).")
  private Optional<Integer> passageTokens = Optional.empty();

  @Option(
      names = "--stop-words",
      paramLabel = "FILE",
      description =
          "Words, one per line, that recipe released leaves out of targets (default: those of"
              + " the released code).")
  private Optional<Path> stopWords = Optional.empty();

  @Option(
      names = "--visible-self",
      description = "Let NEXT see SELF, to measure what hiding it is worth.")
  private boolean visibleSelf;

  @Mixin private TrainingOptions training = new TrainingOptions();

  @Mixin private TrainingLaunch launch = new TrainingLaunch();

  @Override
  public Integer call() {
    model = directory(model);
    return launch.run(streams(), out, this::builder);
  }

  private Pretrainer.Builder builder(Optional<WorldSettings> world, TrainingListener listener) {
    Preset preset = training.preset();
    if (preset == Preset.LLARA && recipe != Recipe.RELEASED) {
      throw usageError("--preset llara is for --recipe released");
    }
    Pretrainer.Builder builder =
        preset
            .pretrainer(model, data, out)
            .recipe(recipe)
            .microBatches(microBatches)
            .visibleSelf(visibleSelf)
            .listener(listener);
    training.applyTo(builder, recipe == Recipe.LM || preset == Preset.LLARA);
    batch.ifPresent(builder::batch);
    maxTokens.ifPresent(builder::maxTokens);
    if (!lossWeights.isEmpty()) {
      builder.weights(weights());
    }
    learningRate.ifPresent(builder::learningRate);
    passageTokens.ifPresent(builder::passageTokens);
    stopWords.map(StopWords::read).ifPresent(builder::stopWords);
    world.ifPresent(builder::world);
    return builder;
  }

  private LossWeights weights() {
    if (lossWeights.size() != 3) {
      throw usageError(
          "--loss-weights takes three numbers, for ar_loss, self_loss and next_loss, not %d"
              .formatted(lossWeights.size()));
    }
    return new LossWeights(lossWeights.get(0), lossWeights.get(1), lossWeights.get(2));
  }
}
