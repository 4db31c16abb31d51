package io.llara.train.mining;

import com.google.common.collect.Lists;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.CorpusVectors;
import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.HnswIndex;
import io.llara.retrieval.HnswOptions;
import io.llara.retrieval.InMemoryVectors;
import io.llara.retrieval.InnerProduct;
import io.llara.retrieval.TextSet;
import io.llara.retrieval.VectorSet;
import io.llara.train.mining.MiningListener.Stage;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.OptionalDouble;
import java.util.TreeMap;

/**
 * Searches by embeddings.
 *
 * @param embeddings how
 */
record VectorSearch(EmbeddingSearch embeddings) implements MiningSettings.Search {
  /** So many bytes of queries' vectors are in memory at a time. */
  private static final int QUERY_BYTES = 32 << 20;

  /** So many vectors are read at a time. */
  private static final int BLOCK = 256;

  @Override
  public Map<String, String> described() {
    Encoder encoder = embeddings.encoder();
    Map<String, String> values = new LinkedHashMap<>();
    values.put("search", embeddings.hnsw().isPresent() ? "HNSW" : "exact");
    embeddings.hnsw().ifPresent(options -> values.put("graph", options.toString()));
    embeddings.cache().ifPresent(place -> values.put("model sha256", place.model()));
    values.put("template", encoder.template().name());
    values.put("compute type", encoder.computeType().name());
    values.put("max tokens", String.valueOf(encoder.maxTokens()));
    values.put("dimension", String.valueOf(encoder.dimension()));
    values.put("normalized", String.valueOf(encoder.normalizes()));
    values.put("queries as", embeddings.queries().name());
    values.put("passages as", embeddings.passages().name());
    return values;
  }

  @Override
  public Retriever open(Passages passages, MiningListener listener) {
    listener.progress(Stage.INDEX, 0, passages.count());
    TextSet texts = TextSet.of(passages.corpus(), passages.summary());
    CorpusVectors vectors = vectors(texts, embeddings.passages(), listener);
    try {
      Finder finder =
          embeddings.hnsw().isPresent()
              ? new Graph(vectors, embeddings.hnsw().get(), embeddings.encoder().lanes())
              : new All(vectors, embeddings.encoder().lanes());
      listener.progress(Stage.INDEX, passages.count(), passages.count());
      return new Vectors(vectors, finder, listener);
    } catch (RuntimeException | Error e) {
      vectors.close();
      throw e;
    }
  }

  private CorpusVectors vectors(TextSet texts, Mode mode, MiningListener listener) {
    Encoder encoder = embeddings.encoder();
    return embeddings.cache().isPresent()
        ? CorpusVectors.open(texts, encoder, mode, embeddings.cache().get(), listener::note)
        : CorpusVectors.open(texts, encoder, mode);
  }

  /** Finds the vectors nearest to others. */
  private interface Finder extends AutoCloseable {
    List<Hits> find(List<float[]> queries, int top);

    OptionalDouble recall();

    @Override
    void close();
  }

  /** Looks at all vectors. */
  private static final class All implements Finder {
    private final VectorSet passages;
    private final ExactSearch search;

    All(VectorSet passages, int lanes) {
      this.passages = passages;
      this.search = new ExactSearch(lanes);
    }

    @Override
    public List<Hits> find(List<float[]> queries, int top) {
      return search.search(new InMemoryVectors(queries), passages, top);
    }

    @Override
    public OptionalDouble recall() {
      return OptionalDouble.empty();
    }

    @Override
    public void close() {
      search.close();
    }
  }

  /** Goes along the edges of a graph, in a temporary folder. */
  private static final class Graph implements Finder {
    private final VectorSet passages;
    private final int lanes;
    private final TemporaryPath folder;
    private final HnswIndex index;
    private final Workers workers;
    private OptionalDouble recall = OptionalDouble.empty();

    Graph(VectorSet passages, HnswOptions options, int lanes) {
      this.passages = passages;
      this.lanes = lanes;
      folder = TemporaryPath.folder("llara-hnsw");
      try {
        HnswIndex.build(folder.path(), passages, options);
        index = HnswIndex.open(folder.path());
      } catch (RuntimeException | Error e) {
        folder.close();
        throw e;
      }
      workers = new Workers(lanes);
    }

    @Override
    public List<Hits> find(List<float[]> queries, int top) {
      if (recall.isEmpty()) {
        recall = OptionalDouble.of(measure(queries, top));
      }
      return workers.map(queries, query -> index.search(query, top));
    }

    private double measure(List<float[]> queries, int top) {
      int step = Math.max(1, queries.size() / EmbeddingSearch.SAMPLED_QUERIES);
      List<float[]> sample = new ArrayList<>();
      for (int i = 0;
          i < queries.size() && sample.size() < EmbeddingSearch.SAMPLED_QUERIES;
          i += step) {
        sample.add(queries.get(i));
      }
      InMemoryVectors sampled = new InMemoryVectors(sample);
      try (ExactSearch exact = new ExactSearch(lanes)) {
        return index.recall(sampled, exact.search(sampled, passages, top), top);
      }
    }

    @Override
    public OptionalDouble recall() {
      return recall;
    }

    @Override
    public void close() {
      workers.close();
      try {
        index.close();
      } finally {
        folder.close();
      }
    }
  }

  /** Numbers texts in the order of their coming. */
  private static final class Distinct {
    private final Map<String, Integer> numbers = new LinkedHashMap<>();

    int number(String text) {
      return numbers.computeIfAbsent(text, key -> numbers.size());
    }

    List<String> inOrder() {
      return List.copyOf(numbers.keySet());
    }
  }

  /**
   * A score that is asked for.
   *
   * @param row the place of the query's vector
   * @param scores where the score goes
   * @param index its place there
   */
  private record Asked(int row, double[] scores, int index) {}

  /** The search over the vectors of a collection. */
  private final class Vectors implements Retriever {
    private final CorpusVectors passages;
    private final Finder finder;
    private final MiningListener listener;

    Vectors(CorpusVectors passages, Finder finder, MiningListener listener) {
      this.passages = passages;
      this.finder = finder;
      this.listener = listener;
    }

    @Override
    public List<Answer> answer(List<Question> questions, int top) {
      int atOnce = Math.max(1, QUERY_BYTES / Float.BYTES / passages.dimension());
      List<Answer> answers = new ArrayList<>(questions.size());
      for (List<Question> part : Lists.partition(questions, atOnce)) {
        answers.addAll(answerAtOnce(part, top));
      }
      return answers;
    }

    private List<Answer> answerAtOnce(List<Question> questions, int top) {
      Distinct rows = new Distinct();
      questions.forEach(question -> rows.number(question.text()));
      List<float[]> queries = encoded("the queries", rows, embeddings.queries());
      List<Hits> hits = finder.find(queries, top);
      NavigableMap<Integer, List<Asked>> inside = new TreeMap<>();
      Distinct others = new Distinct();
      NavigableMap<Integer, List<Asked>> outside = new TreeMap<>();
      List<double[]> scores = new ArrayList<>();
      for (Question question : questions) {
        int row = rows.number(question.text());
        double[] own = new double[question.positives().size()];
        for (int i = 0; i < own.length; i++) {
          Positive positive = question.positives().get(i);
          boolean found = positive.place() >= 0;
          (found ? inside : outside)
              .computeIfAbsent(
                  found ? positive.place() : others.number(positive.text()),
                  key -> new ArrayList<>())
              .add(new Asked(row, own, i));
        }
        scores.add(own);
      }
      score(passages, queries, inside);
      if (!outside.isEmpty()) {
        try (CorpusVectors vectors =
            stored("positives outside of the collection", others, embeddings.passages())) {
          score(vectors, queries, outside);
        }
      }
      List<Answer> answers = new ArrayList<>(questions.size());
      for (int i = 0; i < questions.size(); i++) {
        answers.add(
            new Answer(
                hits.get(rows.number(questions.get(i).text())),
                Arrays.stream(scores.get(i)).mapToObj(OptionalDouble::of).toList()));
      }
      return answers;
    }

    private CorpusVectors stored(String name, Distinct texts, Mode mode) {
      return vectors(TextSet.of(name, texts.inOrder()), mode, listener);
    }

    private List<float[]> encoded(String name, Distinct texts, Mode mode) {
      List<float[]> rows = new ArrayList<>();
      try (CorpusVectors vectors = stored(name, texts, mode)) {
        vectors.forEachBlock(
            BLOCK,
            (first, count, block) -> {
              for (int i = 0; i < count; i++) {
                float[] row = new float[vectors.dimension()];
                block.get(i * row.length, row);
                rows.add(row);
              }
            });
      }
      return rows;
    }

    /**
     * Scores with the vectors at the places that are asked for: the same bits as a search gives.
     */
    private void score(
        VectorSet vectors, List<float[]> queries, NavigableMap<Integer, List<Asked>> wanted) {
      if (wanted.isEmpty()) {
        return;
      }
      float[] vector = new float[vectors.dimension()];
      vectors.forEachBlock(
          BLOCK,
          (first, count, block) -> {
            int begin = (int) first;
            wanted
                .subMap(begin, begin + count)
                .forEach(
                    (place, all) -> {
                      block.get((place - begin) * vector.length, vector);
                      for (Asked asked : all) {
                        asked.scores()[asked.index()] =
                            InnerProduct.of(InnerProduct.widened(queries.get(asked.row())), vector);
                      }
                    });
          });
    }

    @Override
    public OptionalDouble recall() {
      return finder.recall();
    }

    @Override
    public void close() {
      try {
        finder.close();
      } finally {
        passages.close();
      }
    }
  }
}
