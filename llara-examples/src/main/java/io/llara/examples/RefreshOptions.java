package io.llara.examples;

import io.llara.retrieval.Corpus;
import io.llara.train.contrastive.MiningRefresher;
import io.llara.train.contrastive.Refresh;
import io.llara.train.contrastive.TextModes;
import io.llara.train.mining.HardNegativeMiner;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** When and how fine-tuning mines negatives anew. */
final class RefreshOptions {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--refresh-every",
      paramLabel = "N",
      description =
          "Every N steps, mine negatives anew with the model as it is, and go on with them (ANCE);"
              + " by default they stay as they are.")
  private @Nullable Long every;

  @Option(
      names = "--refresh-from",
      paramLabel = "N",
      description = "The first time after N steps (default: as --refresh-every).")
  private @Nullable Long from;

  @Option(
      names = "--refreshes",
      paramLabel = "N",
      description = "At most N times (default: until training ends).")
  private @Nullable Long times;

  @Option(
      names = "--corpus",
      paramLabel = "FILE",
      description =
          "The collection that they are mined in, BEIR's corpus.jsonl, .gz or not (default: the"
              + " passages of the pairs).")
  private @Nullable Path corpus;

  @Option(
      names = "--refresh-ranks",
      paramLabel = "FROM-TO",
      description =
          "They are drawn from rank FROM up to, and without, rank TO, the best being 0 (default:"
              + " 10-200).")
  private @Nullable String ranks;

  @Option(
      names = "--refresh-relative-margin",
      paramLabel = "R",
      description =
          "A negative's score is at most the positive's less R times it (default: no bound).")
  private @Nullable Double margin;

  /**
   * Returns what was asked for, if anything.
   *
   * @param negatives how many a group takes
   */
  Optional<Refresh> refresh(TextModes modes, int negatives, TrainingOptions training) {
    if (every == null) {
      requireNone();
      return Optional.empty();
    }
    MiningRefresher.Builder refresher =
        MiningRefresher.builder()
            .modes(modes)
            .negatives(Math.max(negatives, HardNegativeMiner.DEFAULT_NEGATIVES))
            .seed(training.seed())
            .computeType(training.computeType());
    training.threads().ifPresent(refresher::threads);
    if (corpus != null) {
      refresher.corpus(Corpus.of(corpus));
    }
    if (ranks != null) {
      if (!ranks.matches("\\d{1,9}-\\d{1,9}")) {
        throw refusal("--refresh-ranks is %s; expected ranks such as 10-200".formatted(ranks));
      }
      String[] ends = ranks.split("-", 2);
      refresher.ranks(Integer.parseInt(ends[0]), Integer.parseInt(ends[1]));
    }
    if (margin != null) {
      refresher.relativeMargin(margin);
    }
    Refresh refresh = Refresh.every(every, refresher.build());
    if (from != null) {
      refresh = refresh.from(from);
    }
    return Optional.of(times == null ? refresh : refresh.times(times));
  }

  private void requireNone() {
    Map<String, Boolean> given = new TreeMap<>();
    given.put("--refresh-from", from != null);
    given.put("--refreshes", times != null);
    given.put("--corpus", corpus != null);
    given.put("--refresh-ranks", ranks != null);
    given.put("--refresh-relative-margin", margin != null);
    List<String> idle =
        given.entrySet().stream().filter(Map.Entry::getValue).map(Map.Entry::getKey).toList();
    if (!idle.isEmpty()) {
      throw refusal(
          "%s is for mining negatives anew; give --refresh-every N too"
              .formatted(String.join(", ", idle)));
    }
  }

  private ParameterException refusal(String message) {
    return new ParameterException(command.commandLine(), message);
  }
}
