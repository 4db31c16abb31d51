package io.llara.train.mining;

import com.google.common.base.Ascii;
import io.llara.LlaraException;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.SearchMethod;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Finds hard negatives for contrastive training: passages that a search ranks high for a query and
 * that are none of its known positives (ANCE, arXiv 2007.00808).
 *
 * <pre>{@code
 * Dataset<TrainingPair> pairs = Dataset.ofPairs(List.of(Path.of("medquad.jsonl.gz")));
 * try (Encoder encoder = Encoder.load(Path.of("adapted"))) {
 *   MiningReport report =
 *       HardNegativeMiner.builder()
 *           .corpus(Corpus.of(Path.of("corpus.jsonl.gz")))
 *           .ranks(10, 200)
 *           .relativeMargin(0.05)
 *           .negatives(15)
 *           .build()
 *           .mine(pairs, EmbeddingSearch.of(encoder), Path.of("mined.jsonl.gz"));
 *   report.summary().forEach(System.out::println);
 * }
 * }</pre>
 *
 * <p>For each pair the search gives a ranking of the collection, of which a window of ranks is
 * looked at. What must not be a negative is dropped and counted by {@linkplain DropReason reason}:
 * known positives of the query in any line of the pairs, the query itself, texts that ranked higher
 * already, scores out of bounds or too near to the positive's. Of what remains some are chosen.
 * Nothing takes the place of what was dropped: a pair may get fewer negatives than wanted, or none.
 *
 * <p><b>Positives</b> are found in the collection by a digest of their text, white space put to one
 * measure; both title with text and text alone count. Margins are measured from the score of the
 * pair's positive, the least if it has several, whether it is among what the search found or not. A
 * positive has no score by BM25 if it is not in the collection or has no word of the query, and
 * none by a hybrid search if neither way finds it; by embeddings it always has one. Margins do not
 * apply to a pair of which no positive has a score; such pairs are counted.
 *
 * <p><b>Output.</b> A line for each pair, in their order: {@code query}, {@code pos} and {@code
 * neg}, as {@link Dataset#ofPairs} reads them, and {@code pos_ids}, {@code neg_ids} (ids in the
 * collection, null for a text that is not in it) and {@code neg_scores} (null for negatives that
 * were there before). Other keys of the input are not carried over. The file is written aside and
 * renamed, gzipped if its name ends in {@code .gz}; a report stands beside it, see {@link
 * MiningReport#fileBeside}. Mining that was interrupted leaves neither, and starts over the next
 * time, with the vectors of the collection from the cache. The same input gives the same bytes.
 *
 * <p>Pairs and collection are read several times and never lie in memory, which holds about a
 * hundred bytes for each of their texts.
 *
 * <p>Immutable; {@link #mine} may be called again, for any pairs. An interrupt of the thread ends
 * it with an error.
 */
public final class HardNegativeMiner {
  /** How many negatives a pair gets by default. */
  public static final int DEFAULT_NEGATIVES = 15;

  /** The first rank of the window by default. */
  public static final int DEFAULT_FROM = 10;

  /** The rank after the last of the window by default. */
  public static final int DEFAULT_TO = 200;

  /** The seed of random numbers by default. */
  public static final long DEFAULT_SEED = 42;

  final Optional<Corpus> corpus;
  final CandidateFilter.Rules rules;
  final int negatives;
  final Sampling sampling;
  final long seed;
  final boolean keepNegatives;
  final MiningListener listener;

  private HardNegativeMiner(Builder builder) {
    this.corpus = builder.corpus;
    this.rules =
        new CandidateFilter.Rules(
            builder.from,
            builder.to,
            builder.leastScore,
            builder.greatestScore,
            builder.margin,
            builder.relativeMargin);
    this.negatives = builder.negatives;
    this.sampling = builder.sampling;
    this.seed = builder.seed;
    this.keepNegatives = builder.keepNegatives;
    this.listener = builder.listener;
  }

  /** Returns a builder. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Mines negatives and writes the pairs with them.
   *
   * @param pairs the pairs that get negatives
   * @param search how the collection is searched: by a model's embeddings, BM25, or both
   * @param out the file to write, replaced if it exists; it must not be one of the pairs' own
   * @return what was found, dropped and kept
   * @throws LlaraException if pairs or collection cannot be read, two documents have one id, the
   *     collection has no passage in the rank window, a score is NaN, the file cannot be written,
   *     or this thread is interrupted
   */
  public MiningReport mine(Dataset<TrainingPair> pairs, SearchMethod search, Path out) {
    Path folder = out.toAbsolutePath().getParent();
    // Better now than after hours.
    if (folder == null || !Files.isDirectory(folder)) {
      throw new LlaraException("%s: its folder does not exist".formatted(out));
    }
    if (Files.isDirectory(out)) {
      throw new LlaraException("%s: is a directory; expected a file to write".formatted(out));
    }
    return Mining.run(this, pairs, search, out);
  }

  /** Returns the collection that negatives come from; empty for the passages of the pairs. */
  public Optional<Corpus> corpus() {
    return corpus;
  }

  /** Returns by name, in order, what decides the result beside the texts and the search. */
  public Map<String, String> settings() {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("negatives", String.valueOf(negatives));
    values.put("ranks", rules.from() + "-" + rules.to());
    put(values, "least score", rules.leastScore());
    put(values, "greatest score", rules.greatestScore());
    put(values, "margin", rules.margin());
    put(values, "relative margin", rules.relativeMargin());
    values.put("sampling", Ascii.toLowerCase(sampling.name()));
    if (sampling == Sampling.RANDOM) {
      values.put("seed", String.valueOf(seed));
    }
    values.put("keep negatives", String.valueOf(keepNegatives));
    return values;
  }

  private static void put(Map<String, String> values, String name, OptionalDouble value) {
    value.ifPresent(number -> values.put(name, String.valueOf(number)));
  }

  /** Collects the settings. Not thread-safe. */
  public static final class Builder {
    private Optional<Corpus> corpus = Optional.empty();
    private int from = DEFAULT_FROM;
    private int to = DEFAULT_TO;
    private OptionalDouble leastScore = OptionalDouble.empty();
    private OptionalDouble greatestScore = OptionalDouble.empty();
    private OptionalDouble margin = OptionalDouble.empty();
    private OptionalDouble relativeMargin = OptionalDouble.empty();
    private int negatives = DEFAULT_NEGATIVES;
    private Sampling sampling = Sampling.RANDOM;
    private long seed = DEFAULT_SEED;
    private boolean keepNegatives;
    private MiningListener listener = MiningListener.NONE;

    private Builder() {}

    /**
     * Sets the collection that negatives come from. By default it is the distinct passages of the
     * pairs, positives and negatives; the id of such a passage is a digest of its text.
     */
    public Builder corpus(Corpus corpus) {
      this.corpus = Optional.of(corpus);
      return this;
    }

    /**
     * Sets the window of ranks, those of the search before anything is dropped; from {@value
     * #DEFAULT_FROM} to {@value #DEFAULT_TO} by default. The best passages of all are often
     * positives that nobody marked.
     *
     * @param first the first rank, the best being 0
     * @param end the rank after the last
     */
    public Builder ranks(int first, int end) {
      this.from = first;
      this.to = end;
      return this;
    }

    /** Sets the least score that a negative may have. By default there is none. */
    public Builder leastScore(double score) {
      this.leastScore = OptionalDouble.of(score);
      return this;
    }

    /** Sets the greatest score that a negative may have. By default there is none. */
    public Builder greatestScore(double score) {
      this.greatestScore = OptionalDouble.of(score);
      return this;
    }

    /**
     * Sets how far below the positive's a negative's score must be: {@code negative ≤ positive -
     * margin}. By default it need not be.
     */
    public Builder margin(double difference) {
      this.margin = OptionalDouble.of(difference);
      return this;
    }

    /**
     * Sets the same as a share of the positive's score, as in NV-Retriever (arXiv 2407.15831): with
     * 0.05 a negative has at most 95 % of it. Of a negative score the bound is as far below as it
     * would be of a positive one: {@code negative ≤ positive - share · |positive|}.
     */
    public Builder relativeMargin(double share) {
      this.relativeMargin = OptionalDouble.of(share);
      return this;
    }

    /**
     * Sets how many negatives are mined for a pair, if there are as many; {@value
     * #DEFAULT_NEGATIVES} by default.
     */
    public Builder negatives(int count) {
      this.negatives = count;
      return this;
    }

    /** Sets which of what remains become negatives; {@link Sampling#RANDOM} by default. */
    public Builder sampling(Sampling sampling) {
      this.sampling = sampling;
      return this;
    }

    /** Sets the seed of {@link Sampling#RANDOM}; {@value #DEFAULT_SEED} by default. */
    public Builder seed(long seed) {
      this.seed = seed;
      return this;
    }

    /**
     * Sets whether the negatives that a pair has stay, in front of those that are mined; by default
     * they go.
     */
    public Builder keepNegatives(boolean keep) {
      this.keepNegatives = keep;
      return this;
    }

    /** Sets the listener. */
    public Builder listener(MiningListener listener) {
      this.listener = listener;
      return this;
    }

    /**
     * Checks the settings.
     *
     * @throws IllegalArgumentException naming all that are wrong
     */
    public HardNegativeMiner build() {
      List<String> problems = new ArrayList<>();
      if (from < 0 || to <= from) {
        problems.add(
            "the ranks are from %d to below %d; expected 0 or more, and one at least"
                .formatted(from, to));
      }
      if (negatives < 1) {
        problems.add("%d negatives are wanted; expected 1 or more".formatted(negatives));
      }
      requireFinite(problems, "the least score", leastScore);
      requireFinite(problems, "the greatest score", greatestScore);
      requireFinite(problems, "the margin", margin);
      if (leastScore.orElse(Double.NEGATIVE_INFINITY)
          > greatestScore.orElse(Double.POSITIVE_INFINITY)) {
        problems.add(
            "the least score %s is above the greatest, %s"
                .formatted(leastScore.getAsDouble(), greatestScore.getAsDouble()));
      }
      if (!(relativeMargin.orElse(0) >= 0 && relativeMargin.orElse(0) <= 1)) {
        problems.add(
            "the relative margin is %s; expected from 0 to 1"
                .formatted(relativeMargin.getAsDouble()));
      }
      if (!problems.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", problems));
      }
      return new HardNegativeMiner(this);
    }

    private static void requireFinite(List<String> problems, String what, OptionalDouble value) {
      if (!Double.isFinite(value.orElse(0))) {
        problems.add("%s is %s; expected a number".formatted(what, value.getAsDouble()));
      }
    }
  }
}
