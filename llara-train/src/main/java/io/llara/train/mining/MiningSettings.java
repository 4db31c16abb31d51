package io.llara.train.mining;

import io.llara.retrieval.Corpus;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;

/** What a {@link HardNegativeMiner} was told, checked and with every default filled in. */
record MiningSettings(
    Dataset<TrainingPair> pairs,
    Optional<Corpus> corpus,
    Search search,
    CandidateFilter.Rules rules,
    int negatives,
    Sampling sampling,
    long seed,
    boolean keepNegatives,
    MiningListener listener) {

  /** How candidates are found. */
  interface Search {
    /** Prepares to search a collection. The caller closes what it gets. */
    Retriever open(Passages passages, MiningListener listener);

    /** Returns what decides its results, by name. */
    Map<String, String> described();
  }

  /** Returns what decides the result, by name. */
  Map<String, String> described(Passages passages) {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("pairs", pairs.toString());
    values.put("collection", passages.name());
    values.put("collection sha256", passages.summary().digest());
    values.putAll(search.described());
    values.put("negatives", String.valueOf(negatives));
    values.put("ranks", rules.from() + "-" + rules.to());
    put(values, "least score", rules.leastScore());
    put(values, "greatest score", rules.greatestScore());
    put(values, "margin", rules.margin());
    put(values, "relative margin", rules.relativeMargin());
    values.put("sampling", sampling.name().toLowerCase(Locale.ROOT));
    if (sampling == Sampling.RANDOM) {
      values.put("seed", String.valueOf(seed));
    }
    values.put("keep negatives", String.valueOf(keepNegatives));
    return values;
  }

  private static void put(Map<String, String> values, String name, OptionalDouble value) {
    value.ifPresent(number -> values.put(name, String.valueOf(number)));
  }
}
