package io.llara.examples;

import io.llara.EncoderBuilder;
import io.llara.TextModes;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.HnswOptions;
import io.llara.train.contrastive.MiningRefresher;
import io.llara.train.contrastive.Refresh;
import io.llara.train.mining.HardNegativeMiner;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** When and how fine-tuning mines negatives anew. */
final class RefreshOptions {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--refresh-every",
      paramLabel = "N",
      description =
          "Every N steps, mine new negatives with the model as it is then, and continue with them"
              + " (ANCE; default: keep those of the pairs).")
  private Optional<Long> every = Optional.empty();

  @Option(
      names = "--refresh-from",
      paramLabel = "N",
      description = "Refresh for the first time after N steps (default: as --refresh-every).")
  private Optional<Long> from = Optional.empty();

  @Option(
      names = "--refreshes",
      paramLabel = "N",
      description = "Refresh at most N times (default: until training ends).")
  private Optional<Long> times = Optional.empty();

  @Option(
      names = "--corpus",
      paramLabel = "FILE",
      description =
          "The collection to mine new negatives in: BEIR's corpus.jsonl, plain or gzipped (default:"
              + " the passages of the pairs).")
  private Optional<Path> corpus = Optional.empty();

  @Option(
      names = "--refresh-ranks",
      paramLabel = "FROM-TO",
      description =
          "Draw new negatives from ranks FROM (inclusive) to TO (exclusive), the best being 0"
              + " (default: 10-200).")
  private Optional<String> ranks = Optional.empty();

  @Option(
      names = "--refresh-relative-margin",
      paramLabel = "R",
      description =
          "A new negative's score is at most the positive's less R times it (default: no bound).")
  private Optional<Double> margin = Optional.empty();

  @Option(
      names = "--refresh-hnsw",
      description = "Find new negatives along graphs (HNSW) instead of among all passages.")
  private boolean hnsw;

  /**
   * Returns the refresh that the options ask for, if any.
   *
   * @param negatives how many a group takes
   */
  Optional<Refresh> refresh(TextModes modes, int negatives, TrainingOptions training) {
    if (every.isEmpty()) {
      requireNone();
      return Optional.empty();
    }
    HardNegativeMiner.Builder miner =
        HardNegativeMiner.builder()
            .negatives(Math.max(negatives, HardNegativeMiner.DEFAULT_NEGATIVES))
            .seed(training.seed());
    corpus.map(Corpus::of).ifPresent(miner::corpus);
    ranks
        .map(range -> Subcommand.ranks(command, "--refresh-ranks", range))
        .ifPresent(window -> miner.ranks(window[0], window[1]));
    margin.ifPresent(miner::relativeMargin);
    MiningRefresher refresher =
        new MiningRefresher(
            miner.build(),
            modes,
            encoder -> configure(encoder, training),
            hnsw ? Optional.of(HnswOptions.DEFAULT) : Optional.empty());
    Refresh refresh = Refresh.every(every.get(), refresher);
    refresh = from.map(refresh::from).orElse(refresh);
    return Optional.of(times.map(refresh::times).orElse(refresh));
  }

  private static EncoderBuilder configure(EncoderBuilder encoder, TrainingOptions training) {
    encoder.computeType(training.computeType()).device(training.device());
    return training.threads().map(encoder::threads).orElse(encoder);
  }

  private void requireNone() {
    List<String> idle =
        Subcommand.given(
            command,
            "--corpus",
            "--refresh-from",
            "--refresh-hnsw",
            "--refresh-ranks",
            "--refresh-relative-margin",
            "--refreshes");
    if (!idle.isEmpty()) {
      throw Subcommand.usageError(
          command,
          "%s is for mining new negatives; give --refresh-every N too"
              .formatted(String.join(", ", idle)));
    }
  }
}
