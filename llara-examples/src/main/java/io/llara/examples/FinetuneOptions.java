package io.llara.examples;

import io.llara.prompt.PromptTemplate;
import io.llara.train.TrainingListener;
import io.llara.train.contrastive.ContrastiveTrainer;
import io.llara.train.contrastive.TextModes;
import io.llara.train.data.FewNegatives;
import io.llara.train.distributed.WorldSettings;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The settings of fine-tuning, as options; their defaults are those of the library. */
final class FinetuneOptions {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "The model to begin with: a Hugging Face directory, best of an adapted model.")
  private Path model = Path.of("");

  @Option(
      names = "--pairs",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description =
          "JSON lines, .gz or not: {\"query\": …, \"pos\": [ … ], \"neg\": [ … ]}; llara mine makes"
              + " the negatives.")
  private List<Path> pairs = new ArrayList<>();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description =
          "The directory of the run: losses, checkpoints and, at the end, the trained model, with"
              + " LoRA also its adapter.")
  private Path out = Path.of("");

  @Option(
      names = "--temperature",
      paramLabel = "X",
      description = "What similarities are divided by (default: ${DEFAULT-VALUE}).")
  private double temperature = ContrastiveTrainer.DEFAULT_TEMPERATURE;

  @Option(
      names = "--no-normalize",
      description =
          "Take embeddings as they are instead of scaled to length 1; a temperature of about 1 goes"
              + " with it.")
  private boolean unnormalized;

  @Option(
      names = "--negatives",
      paramLabel = "N",
      description =
          "Hard negatives of each query in a step, beside all passages of the other queries"
              + " (default: ${DEFAULT-VALUE}).")
  private int negatives = ContrastiveTrainer.DEFAULT_NEGATIVES;

  @Option(
      names = "--few-negatives",
      paramLabel = "repeat|refuse",
      defaultValue = "repeat",
      description =
          "What happens to a query with fewer: repeat those it has, or count its line as a bad one"
              + " (default: ${DEFAULT-VALUE}).")
  private FewNegatives fewNegatives = FewNegatives.REPEAT;

  @Option(
      names = "--batch",
      paramLabel = "N",
      description = "Queries of a step, over all processes (default: ${DEFAULT-VALUE}).")
  private int batch = ContrastiveTrainer.DEFAULT_BATCH;

  @Option(
      names = "--sub-batch",
      paramLabel = "N",
      description =
          "Run about N texts at a time on each thread (GradCache): memory for so many, the same"
              + " numbers up to rounding (default: all at once).")
  private int subBatch;

  @Option(
      names = "--query-tokens",
      paramLabel = "N",
      description =
          "The longest prompt of a query; longer ones are cut (default: ${DEFAULT-VALUE}).")
  private int queryTokens = ContrastiveTrainer.DEFAULT_QUERY_MAX_TOKENS;

  @Option(
      names = "--passage-tokens",
      paramLabel = "N",
      description =
          "The longest prompt of a passage; longer ones are cut (default: ${DEFAULT-VALUE}).")
  private int passageTokens = ContrastiveTrainer.DEFAULT_PASSAGE_MAX_TOKENS;

  @Option(
      names = "--modes",
      paramLabel = "n2s|s2s|n2n",
      defaultValue = "n2s",
      description =
          "n2s: queries in mode NEXT, passages in mode SELF, as the released models; s2s: both in"
              + " SELF; n2n: both in NEXT (default: ${DEFAULT-VALUE}).")
  private TextModes modes = TextModes.N2S;

  @Option(
      names = "--template",
      paramLabel = "NAME",
      description =
          "The prompt recipe: llama2vec or llara-paper (default: what the model was trained with).")
  private @Nullable String template;

  @Option(
      names = "--lora",
      paramLabel = "R",
      description =
          "Train low-rank updates of rank R of all seven projections (default: with rank 64).")
  private @Nullable Integer loraRank;

  @Option(names = "--full", description = "Train all parameters instead.")
  private boolean full;

  @Option(
      names = "--train-markers",
      description =
          "With LoRA, train the markers' embeddings too; the adapter then brings the whole embedding"
              + " matrix.")
  private boolean trainMarkers;

  @Option(
      names = "--lr",
      paramLabel = "X",
      description = "The highest learning rate (default: 1e-4 with LoRA, 1e-5 with --full).")
  private @Nullable Double learningRate;

  @Option(
      names = "--hold-out",
      paramLabel = "F",
      description =
          "The share of queries, from 0 to below 1, that is not trained on but evaluated (default:"
              + " ${DEFAULT-VALUE}).")
  private double holdOut;

  @Mixin private TrainingOptions training = new TrainingOptions();

  @Mixin private RefreshOptions refresh = new RefreshOptions();

  Path out() {
    return out;
  }

  /** Puts the settings together. */
  ContrastiveTrainer.Builder builder(Optional<WorldSettings> world, TrainingListener listener) {
    ContrastiveTrainer.Builder builder =
        ContrastiveTrainer.builder(model, pairs, out)
            .temperature(temperature)
            .normalize(!unnormalized)
            .negatives(negatives)
            .fewNegatives(fewNegatives)
            .batch(batch)
            .subBatch(subBatch)
            .queryMaxTokens(queryTokens)
            .passageMaxTokens(passageTokens)
            .modes(modes)
            .trainMarkers(trainMarkers)
            .heldOut(holdOut)
            .listener(listener);
    training.applyTo(builder, loraRank, full, false);
    training.applyTo(builder);
    if (full && trainMarkers) {
      throw training.refusal("--train-markers is for LoRA; with --full they train in any case");
    }
    if (template != null) {
      builder.template(template(template));
    }
    if (learningRate != null) {
      builder.learningRate(learningRate);
    }
    refresh.refresh(modes, negatives, training).ifPresent(builder::refresh);
    world.ifPresent(builder::world);
    return builder;
  }

  private PromptTemplate template(String name) {
    return PromptTemplate.byName(name)
        .orElseThrow(
            () ->
                training.refusal(
                    "--template is %s; known are %s"
                        .formatted(name, String.join(", ", PromptTemplate.names()))));
  }
}
