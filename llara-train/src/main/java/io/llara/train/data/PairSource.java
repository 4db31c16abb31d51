package io.llara.train.data;

import io.llara.LlaraException;
import java.nio.file.Path;
import java.util.List;

/**
 * Pairs to train on: JSONL files, {@code .gz} among them, and how they are read.
 *
 * <p>A line is a JSON object {@code {"query": …, "pos": [ … ], "neg": [ … ]}}, as the released code
 * has it: a query, at least one passage that answers it, and passages that do not. {@code neg} may
 * be empty or absent; other keys ({@code pos_scores}, {@code prompt}, {@code id} …) are passed
 * over.
 *
 * <pre>{@code
 * PairSource source =
 *     PairSource.builder(List.of(Path.of("medquad.jsonl.gz"))).heldOut(0.02, false).build();
 * try (PairStream pairs = source.open()) {
 *   pairs.forEachRemaining(pair -> train(pair));
 * }
 * }</pre>
 *
 * <p>A pair is held out by a hash of its query: lines with the same query stay on one side. A
 * passage that answers several queries may be on both.
 */
public final class PairSource extends JsonlSource<TrainingPair> {
  private final int leastNegatives;

  private PairSource(Builder builder) {
    super(builder);
    this.leastNegatives = builder.leastNegatives;
  }

  /**
   * Returns a builder of a source.
   *
   * @param files the files, read in this order
   */
  public static Builder builder(List<Path> files) {
    return new Builder(files);
  }

  @Override
  public PairStream open() {
    return new PairStream(this);
  }

  int leastNegatives() {
    return leastNegatives;
  }

  @Override
  String noun() {
    return "pair";
  }

  /** Collects the settings of a source. Not thread-safe. */
  public static final class Builder extends JsonlSource.Builder<Builder> {
    private int leastNegatives;

    private Builder(List<Path> files) {
      super(files);
    }

    @Override
    Builder self() {
      return this;
    }

    /**
     * Sets how many negatives a line must have to be usable, 0 by default; see {@link
     * GroupSampler#leastNegatives}. A line that has fewer is a bad one.
     */
    public Builder leastNegatives(int leastNegatives) {
      this.leastNegatives = leastNegatives;
      return this;
    }

    /**
     * Returns the source.
     *
     * @throws IllegalArgumentException if there is no file, or a number is out of its bounds
     * @throws LlaraException if a file does not exist or is no regular file; all such are named
     */
    public PairSource build() {
      check(
          leastNegatives < 0
              ? List.of("leastNegatives is %d, at least 0".formatted(leastNegatives))
              : List.of());
      return new PairSource(this);
    }
  }
}
