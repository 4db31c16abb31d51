package io.llara.spark;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.SparkContext;
import org.apache.spark.util.LongAccumulator;

/** The accumulators of an embedder: one set for each Spark context that it ran in. Thread-safe. */
final class Counters {
  private final List<Set> sets = new ArrayList<>();
  private final List<SparkContext> contexts = new ArrayList<>();

  /** What tasks add to. */
  record Set(LongAccumulator texts, LongAccumulator tokens, LongAccumulator truncatedTexts)
      implements Serializable {
    void add(int moreTexts, long moreTokens, int moreTruncated) {
      texts.add(moreTexts);
      tokens.add(moreTokens);
      truncatedTexts.add(moreTruncated);
    }
  }

  /** Returns the accumulators of a context, which are registered on the first call. */
  synchronized Set of(SparkContext context) {
    int known = contexts.indexOf(context);
    if (known >= 0) {
      return sets.get(known);
    }
    Set set =
        new Set(
            context.longAccumulator("llara.texts"),
            context.longAccumulator("llara.tokens"),
            context.longAccumulator("llara.truncatedTexts"));
    contexts.add(context);
    sets.add(set);
    return set;
  }

  /** Returns the sums over all contexts. */
  synchronized EmbeddingMetrics sum() {
    long texts = 0;
    long tokens = 0;
    long truncated = 0;
    for (Set set : sets) {
      texts += set.texts().sum();
      tokens += set.tokens().sum();
      truncated += set.truncatedTexts().sum();
    }
    return new EmbeddingMetrics(texts, tokens, truncated);
  }
}
