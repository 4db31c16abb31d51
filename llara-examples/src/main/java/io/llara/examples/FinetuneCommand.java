package io.llara.examples;

import io.llara.TextModes;
import io.llara.train.TrainingListener;
import io.llara.train.contrastive.ContrastiveTrainer;
import io.llara.train.data.FewNegatives;
import io.llara.train.distributed.WorldSettings;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Queries with their passages and an embedding model in, a better one out. */
@Command(
    name = "finetune",
    customSynopsis = "llara finetune --model DIR --pairs FILE... --out DIR [OPTION...]",
    sortOptions = false,
    description = {
      "Fine-tunes an embedding model on queries and their passages, with hard negatives.",
      "",
      "Press Ctrl-C to stop at any time; the same command resumes from the newest complete"
          + " checkpoint in --out. Processes started by torchrun or similar, with RANK, WORLD_SIZE,"
          + " LOCAL_RANK, MASTER_ADDR and MASTER_PORT set, train together and share their"
          + " negatives.",
      ""
    })
final class FinetuneCommand extends Subcommand {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description =
          "The model to start from: a Hugging Face directory, preferably of an adapted model.")
  private Path model = Path.of("");

  @Option(
      names = "--pairs",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description =
          "JSON lines, plain or gzipped: {\"query\": …, \"pos\": [ … ], \"neg\": [ … ]}; llara mine"
              + " makes the negatives.")
  private List<Path> pairs = new ArrayList<>();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description =
          "The directory of the run: losses, checkpoints and, at the end, the trained model and,"
              + " with LoRA, its adapter.")
  private Path out = Path.of("");

  @Option(
      names = "--temperature",
      paramLabel = "X",
      description =
          "Temperature that similarities are divided by (default: "
              + ContrastiveTrainer.DEFAULT_TEMPERATURE
              + "; llara: 0.01).")
  private Optional<Double> temperature = Optional.empty();

  @Option(
      names = "--no-normalize",
      description =
          "Do not scale embeddings to length 1; a temperature of about 1 goes well with it.")
  private boolean unnormalized;

  @Option(
      names = "--negatives",
      paramLabel = "N",
      description =
          "Hard negatives per query in each step, besides all passages of the other queries"
              + " (default: ${DEFAULT-VALUE}).")
  private int negatives = ContrastiveTrainer.DEFAULT_NEGATIVES;

  @Option(
      names = "--few-negatives",
      paramLabel = "repeat|refuse",
      defaultValue = "repeat",
      description =
          "What to do with a query that has fewer: repeat those it has, or treat its line as a bad"
              + " one (default: ${DEFAULT-VALUE}).")
  private FewNegatives fewNegatives = FewNegatives.REPEAT;

  @Option(
      names = "--batch",
      paramLabel = "N",
      description =
          "Queries per step, over all processes (default: "
              + ContrastiveTrainer.DEFAULT_BATCH
              + "; llara: 8).")
  private Optional<Integer> batch = Optional.empty();

  @Option(
      names = "--sub-batch",
      paramLabel = "N",
      description =
          "Run about N texts at a time on each thread (GradCache): less memory, the same result up"
              + " to rounding (default: all at once).")
  private int subBatch;

  @Option(
      names = {"--query-max-tokens", "--query-tokens"},
      paramLabel = "N",
      description =
          "Maximum length of a query's prompt; longer ones are truncated (default:"
              + " ${DEFAULT-VALUE}).")
  private int queryTokens = ContrastiveTrainer.DEFAULT_QUERY_MAX_TOKENS;

  @Option(
      names = {"--passage-max-tokens", "--passage-tokens"},
      paramLabel = "N",
      description =
          "Maximum length of a passage's prompt; longer ones are truncated (default: "
              + ContrastiveTrainer.DEFAULT_PASSAGE_MAX_TOKENS
              + "; llara: 160).")
  private Optional<Integer> passageTokens = Optional.empty();

  @Option(
      names = "--modes",
      paramLabel = "n2s|s2s|n2n",
      defaultValue = "n2s",
      description =
          "n2s: queries in mode NEXT, passages in mode SELF, as in the released models; s2s: both"
              + " in SELF; n2n: both in NEXT (default: ${DEFAULT-VALUE}).")
  private TextModes modes = TextModes.N2S;

  @Option(
      names = "--train-markers",
      description =
          "With LoRA, train the markers' embeddings too; the adapter then contains the whole"
              + " embedding matrix.")
  private boolean trainMarkers;

  @Option(
      names = "--lr",
      paramLabel = "X",
      description = "Peak learning rate (default: 1e-4 with LoRA, 1e-5 with --full; llara: 3e-4).")
  private Optional<Double> learningRate = Optional.empty();

  @Mixin private LossOptions losses = new LossOptions();

  @Mixin private TrainingOptions training = new TrainingOptions();

  @Mixin private RefreshOptions refresh = new RefreshOptions();

  @Mixin private TrainingLaunch launch = new TrainingLaunch();

  @Override
  public Integer call() {
    model = directory(model);
    return launch.run(streams(), out, this::builder);
  }

  private ContrastiveTrainer.Builder builder(
      Optional<WorldSettings> world, TrainingListener listener) {
    ContrastiveTrainer.Builder builder =
        training
            .preset()
            .contrastiveTrainer(model, pairs, out)
            .normalize(!unnormalized)
            .negatives(negatives)
            .fewNegatives(fewNegatives)
            .subBatch(subBatch)
            .queryMaxTokens(queryTokens)
            .modes(modes)
            .trainMarkers(trainMarkers)
            .listener(listener);
    training.applyTo(builder, false);
    temperature.ifPresent(builder::temperature);
    batch.ifPresent(builder::batch);
    passageTokens.ifPresent(builder::passageMaxTokens);
    learningRate.ifPresent(builder::learningRate);
    losses.applyTo(builder);
    refresh.refresh(modes, negatives, training).ifPresent(builder::refresh);
    world.ifPresent(builder::world);
    return builder;
  }
}
