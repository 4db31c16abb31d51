package io.llara.train.contrastive;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.mining.HardNegativeMiner;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import org.jspecify.annotations.Nullable;

/**
 * Refreshes negatives by an exact search with the model's own embeddings (ANCE, arXiv 2007.00808):
 * what the model as it is takes for near to a query, and is none of its positives. See {@link
 * HardNegativeMiner}, whose report stays beside the pairs.
 *
 * <pre>{@code
 * NegativeRefresher refresher =
 *     MiningRefresher.builder()
 *         .corpus(Corpus.of(Path.of("corpus.jsonl.gz")))
 *         .ranks(10, 100)
 *         .build();
 * }</pre>
 *
 * <p>Immutable.
 */
public final class MiningRefresher implements NegativeRefresher {
  private final Optional<Corpus> corpus;
  private final TextModes modes;
  private final int negatives;
  private final int from;
  private final int to;
  private final OptionalDouble relativeMargin;
  private final long seed;
  private final @Nullable Integer threads;
  private final ComputeType computeType;

  private MiningRefresher(Builder builder) {
    this.corpus = builder.corpus;
    this.modes = builder.modes;
    this.negatives = builder.negatives;
    this.from = builder.from;
    this.to = builder.to;
    this.relativeMargin = builder.relativeMargin;
    this.seed = builder.seed;
    this.threads = builder.threads;
    this.computeType = builder.computeType;
  }

  /** Returns a builder. */
  public static Builder builder() {
    return new Builder();
  }

  @Override
  public void refresh(Path model, Dataset<TrainingPair> pairs, Path out) {
    try (Encoder encoder = encoder(model)) {
      miner(pairs, encoder).mine(out);
    }
  }

  private Encoder encoder(Path model) {
    EncoderBuilder builder = Encoder.builder(model).computeType(computeType);
    if (threads != null) {
      builder.threads(threads);
    }
    return builder.build();
  }

  private HardNegativeMiner miner(Dataset<TrainingPair> pairs, Encoder encoder) {
    HardNegativeMiner.Builder miner =
        HardNegativeMiner.builder(pairs)
            .search(EmbeddingSearch.of(encoder).withModes(modes.query(), modes.passage()))
            .ranks(from, to)
            .negatives(negatives)
            .seed(seed);
    corpus.ifPresent(miner::corpus);
    relativeMargin.ifPresent(miner::relativeMargin);
    return miner.build();
  }

  @Override
  public String description() {
    return "%d of ranks %d-%d in %s%s, modes %s, seed %d"
        .formatted(
            negatives,
            from,
            to,
            corpus.map(Corpus::name).orElse("the passages of the pairs"),
            relativeMargin.isPresent() ? ", relative margin " + relativeMargin.getAsDouble() : "",
            modes.spelled(),
            seed);
  }

  /** Collects the settings of a refresher; see {@link HardNegativeMiner.Builder}. */
  public static final class Builder {
    private Optional<Corpus> corpus = Optional.empty();
    private TextModes modes = TextModes.N2S;
    private int negatives = HardNegativeMiner.DEFAULT_NEGATIVES;
    private int from = HardNegativeMiner.DEFAULT_FROM;
    private int to = HardNegativeMiner.DEFAULT_TO;
    private OptionalDouble relativeMargin = OptionalDouble.empty();
    private long seed = HardNegativeMiner.DEFAULT_SEED;
    private @Nullable Integer threads;
    private ComputeType computeType = ComputeType.AUTO;

    private Builder() {}

    /** Sets the collection that negatives come from; by default the passages of the pairs. */
    public Builder corpus(Corpus corpus) {
      this.corpus = Optional.of(corpus);
      return this;
    }

    /** Sets the modes that are trained; {@link TextModes#N2S} by default. */
    public Builder modes(TextModes modes) {
      this.modes = modes;
      return this;
    }

    /**
     * Sets how many negatives a pair gets; {@value HardNegativeMiner#DEFAULT_NEGATIVES} by default.
     */
    public Builder negatives(int count) {
      this.negatives = count;
      return this;
    }

    /**
     * Sets the window of ranks; from {@value HardNegativeMiner#DEFAULT_FROM} to {@value
     * HardNegativeMiner#DEFAULT_TO} by default.
     *
     * @param first the first rank, the best being 0
     * @param end the rank after the last
     */
    public Builder ranks(int first, int end) {
      this.from = first;
      this.to = end;
      return this;
    }

    /**
     * Sets how far below its positive's a negative's score must be, as a share of it. By default it
     * need not be.
     */
    public Builder relativeMargin(double share) {
      this.relativeMargin = OptionalDouble.of(share);
      return this;
    }

    /** Sets the seed of the draws; {@value HardNegativeMiner#DEFAULT_SEED} by default. */
    public Builder seed(long seed) {
      this.seed = seed;
      return this;
    }

    /** Sets how many threads encode and search; as many as there are processors by default. */
    public Builder threads(int threads) {
      this.threads = threads;
      return this;
    }

    /** Sets the type to encode in; {@link ComputeType#AUTO} by default. */
    public Builder computeType(ComputeType type) {
      this.computeType = type;
      return this;
    }

    /**
     * Checks the settings.
     *
     * @throws IllegalArgumentException naming all that are wrong
     */
    public MiningRefresher build() {
      List<String> problems = new ArrayList<>();
      if (from < 0 || to <= from) {
        problems.add("there is none in the ranks %d-%d".formatted(from, to));
      }
      if (negatives < 1) {
        problems.add("a refresh needs at least 1 negative, not " + negatives);
      }
      if (!(relativeMargin.orElse(0) >= 0 && relativeMargin.orElse(0) <= 1)) {
        problems.add(
            "the relative margin is %s, not from 0 to 1".formatted(relativeMargin.getAsDouble()));
      }
      if (threads != null && threads < 1) {
        problems.add("a refresh needs at least 1 thread, not " + threads);
      }
      if (!problems.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", problems));
      }
      return new MiningRefresher(this);
    }
  }
}
