package io.llara.retrieval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.OptionalDouble;
import java.util.TreeMap;

/** The search over the vectors of a collection, with an encoder for the texts of queries. */
final class EmbeddingSearcher implements Searcher {
  /** So many vectors are read at a time. */
  private static final int BLOCK = 256;

  /** On so many queries the recall of an approximate search is measured. */
  private static final int SAMPLED_QUERIES = 100;

  /** About how many bytes a hit takes while it is searched for. */
  private static final int HIT_BYTES = 100;

  private static final int MOST_QUERIES = 1 << 17;

  private final EmbeddingSearch method;
  private final StoredVectors passages;
  private final Searcher vectors;
  private final SearchListener listener;

  /**
   * Creates the search.
   *
   * @param vectors searches the passages by vectors; closed with this, as the passages are
   */
  EmbeddingSearcher(
      EmbeddingSearch method, StoredVectors passages, Searcher vectors, SearchListener listener) {
    this.method = method;
    this.passages = passages;
    this.vectors = vectors;
    this.listener = listener;
  }

  @Override
  public List<Hits> search(List<Query> queries, int k) {
    return vectors.search(prepare(queries), k);
  }

  /** As many as have room on a quarter of the heap, with their vectors and hits. */
  @Override
  public int batch(int k) {
    long each = 2L * Float.BYTES * passages.dimension() + (long) HIT_BYTES * k;
    long room = Runtime.getRuntime().maxMemory() / 4;
    return (int) Math.max(1, Math.min(MOST_QUERIES, room / each));
  }

  /** Returns the queries with vectors: those that have none get that of their text. */
  @Override
  public List<Query> prepare(List<Query> queries) {
    return Query.withVectors(queries, this::encode);
  }

  private List<float[]> encode(List<String> texts) {
    listener.encoding("queries", texts.size());
    List<float[]> encoded = new ArrayList<>();
    try (StoredVectors rows = method.encodeQueries(TextSet.of("the queries", texts), listener)) {
      rows.forEachBlock(
          BLOCK,
          (first, count, block) -> {
            for (int i = 0; i < count; i++) {
              float[] row = new float[rows.dimension()];
              block.get(i * row.length, row);
              encoded.add(row);
            }
          });
    }
    return encoded;
  }

  /** Returns the scores of all candidates: those outside of the collection are encoded. */
  @Override
  public List<OptionalDouble> score(List<Candidate> candidates) {
    List<Query> queries = prepare(candidates.stream().map(Candidate::query).toList());
    NavigableMap<Long, List<Integer>> inside = new TreeMap<>();
    Map<String, Integer> others = new LinkedHashMap<>();
    NavigableMap<Long, List<Integer>> outside = new TreeMap<>();
    for (int i = 0; i < candidates.size(); i++) {
      Candidate candidate = candidates.get(i);
      long place = candidate.index();
      if (place >= 0) {
        inside.computeIfAbsent(place, key -> new ArrayList<>()).add(i);
      } else {
        place = others.computeIfAbsent(candidate.text(), text -> others.size());
        outside.computeIfAbsent(place, key -> new ArrayList<>()).add(i);
      }
    }
    double[] scores = new double[candidates.size()];
    score(passages, inside, queries, scores);
    if (!outside.isEmpty()) {
      TextSet texts =
          TextSet.of("passages outside of the collection", List.copyOf(others.keySet()));
      try (StoredVectors rows = method.encodePassages(texts, listener)) {
        score(rows, outside, queries, scores);
      }
    }
    return Arrays.stream(scores).mapToObj(OptionalDouble::of).toList();
  }

  /**
   * Scores with vectors at some places, in one pass: the same bits as a search gives.
   *
   * @param wanted by the place the candidates, as indices of their queries and scores
   */
  private static void score(
      VectorSet vectors,
      NavigableMap<Long, List<Integer>> wanted,
      List<Query> queries,
      double[] scores) {
    if (wanted.isEmpty()) {
      return;
    }
    float[] vector = new float[vectors.dimension()];
    vectors.forEachBlock(
        BLOCK,
        (first, count, block) ->
            wanted
                .subMap(first, first + count)
                .forEach(
                    (place, candidates) -> {
                      block.get((int) (place - first) * vector.length, vector);
                      for (int i : candidates) {
                        scores[i] =
                            InnerProduct.of(
                                InnerProduct.widened(queries.get(i).requireVector()), vector);
                      }
                    }));
  }

  @Override
  public OptionalDouble recall(List<Query> queries, int k) {
    if (vectors instanceof ExactSearch || queries.isEmpty()) {
      return OptionalDouble.empty();
    }
    int step = Math.max(1, queries.size() / SAMPLED_QUERIES);
    List<Query> sample = new ArrayList<>();
    for (int i = 0; i < queries.size() && sample.size() < SAMPLED_QUERIES; i += step) {
      sample.add(queries.get(i));
    }
    List<Query> sampled = prepare(sample);
    try (ExactSearch exact = new ExactSearch(passages, method.encoder().lanes())) {
      List<Hits> truth = exact.search(sampled, k);
      return OptionalDouble.of(recall(vectors, passages.count(), sampled, truth, k));
    }
  }

  /** Measures what a searcher of vectors misses, as {@link HnswIndex#recall}. */
  static double recall(
      Searcher searcher, long count, List<Query> queries, List<Hits> exact, int k) {
    if (exact.isEmpty() || queries.size() != exact.size()) {
      throw new IllegalArgumentException(
          "there are exact hits for %d of %d queries; expected them for one query or more"
              .formatted(exact.size(), queries.size()));
    }
    List<Hits> found = searcher.search(queries, k);
    double sum = 0;
    for (int i = 0; i < exact.size(); i++) {
      int wanted = (int) Math.min(k, count);
      if (exact.get(i).size() < wanted) {
        throw new IllegalArgumentException(
            "query %d has %d exact hits; expected %d".formatted(i, exact.get(i).size(), wanted));
      }
      double worst = wanted == 0 ? 0 : exact.get(i).scores().get(wanted - 1);
      long hit = found.get(i).scores().stream().filter(score -> score >= worst).count();
      sum += wanted == 0 ? 1 : (double) hit / wanted;
    }
    return sum / exact.size();
  }

  @Override
  public void close() {
    try {
      vectors.close();
    } finally {
      passages.close();
    }
  }
}
