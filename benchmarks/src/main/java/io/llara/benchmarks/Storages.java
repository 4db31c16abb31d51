package io.llara.benchmarks;

import static java.util.Objects.requireNonNull;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.TextModes;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.CorpusVectors;
import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.Query;
import io.llara.retrieval.Searcher;
import io.llara.retrieval.StoredVectors;
import io.llara.retrieval.TextSet;
import io.llara.retrieval.VectorStorage;
import io.llara.retrieval.eval.BeirDataset;
import io.llara.retrieval.eval.BeirEvaluator;
import io.llara.retrieval.eval.Evaluation;
import io.llara.retrieval.eval.Metric;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What float16 and int8 cost: bytes and retrieval of test collections, by exact search. The
 * passages are encoded once, and stored in each way; queries are float32.
 */
public final class Storages {
  private static final String BAG_OF_WORDS = "bag-of-words";

  private Storages() {}

  /** Runs: a model directory, or {@value #BAG_OF_WORDS}, and folders in BEIR format. */
  public static void main(String[] args) throws IOException {
    System.out.println(Machine.describe());
    System.out.println();
    System.out.println(
        "| collection | storage | bytes | nDCG@10 | Recall@100 | of float32's 100 |");
    System.out.println("|---|---|---:|---:|---:|---:|");
    for (String folder : Arrays.asList(args).subList(1, args.length)) {
      BeirDataset dataset = BeirDataset.open(Path.of(folder), BeirEvaluator.DEFAULT_SPLIT);
      TextSet passages = TextSet.of(dataset.corpus(), dataset.summary());
      try (Encoder encoder =
              args[0].equals(BAG_OF_WORDS)
                  ? new BagOfWords(dataset.corpus())
                  : Encoder.load(Path.of(args[0]));
          TemporaryPath stored = TemporaryPath.folder("llara-storages");
          StoredVectors vectors =
              CorpusVectors.open(passages, encoder.forPassages(), encoder.modes().passage())) {
        compare(dataset, encoder, vectors, stored.path());
      }
    }
  }

  private static void compare(
      BeirDataset dataset, Encoder encoder, StoredVectors vectors, Path folder) throws IOException {
    BeirEvaluator evaluator = BeirEvaluator.of(dataset);
    Map<String, float[]> queries = new HashMap<>();
    for (String query : dataset.queries().values()) {
      queries.put(query, encoder.encodeQuery(query));
    }
    List<Query> asked = dataset.queries().values().stream().map(Query::of).toList();
    List<Hits> truth;
    try (Encoded exact = new Encoded(vectors, queries)) {
      truth = exact.search(asked, 100);
    }
    for (VectorStorage storage : VectorStorage.values()) {
      Path file = folder.resolve(storage.name());
      StoredVectors.write(file, vectors, storage);
      try (StoredVectors other = StoredVectors.open(file);
          Encoded search = new Encoded(other, queries)) {
        Evaluation evaluation = evaluator.evaluate(storage.name(), search);
        List<Hits> found = search.search(asked, 100);
        double shared = 0;
        for (int i = 0; i < found.size(); i++) {
          HashSet<Long> same = new HashSet<>(truth.get(i).indices().asList());
          int of = same.size();
          same.retainAll(found.get(i).indices().asList());
          shared += (double) same.size() / of;
        }
        System.out.printf(
            Locale.ROOT,
            "| %s | %s | %d | %.4f | %.4f | %.4f |%n",
            dataset.name(),
            storage.name().toLowerCase(Locale.ROOT),
            Files.size(file),
            evaluation.mean(Metric.ndcg(10)),
            evaluation.mean(Metric.recall(100)),
            shared / found.size());
      }
    }
  }

  /** Exact search for queries whose vectors are there. */
  private static final class Encoded implements Searcher {
    private final ExactSearch search;
    private final Map<String, float[]> queries;

    Encoded(StoredVectors vectors, Map<String, float[]> queries) {
      this.search = new ExactSearch(vectors, Runtime.getRuntime().availableProcessors());
      this.queries = queries;
    }

    @Override
    public List<Hits> search(List<Query> asked, int k) {
      return search.search(
          asked.stream()
              .map(
                  query ->
                      query.withVector(requireNonNull(queries.get(query.text().orElseThrow()))))
              .toList(),
          k);
    }

    @Override
    public void close() {
      search.close();
    }
  }

  /**
   * Words, weighted by (1 + ln tf) · ln(N / df), each projected on a random direction of 768
   * dimensions: vectors that retrieve something, without a model.
   */
  private static final class BagOfWords implements Encoder {
    private static final int DIMENSION = 768;
    private static final Pattern WORD = Pattern.compile("[\\p{L}\\p{N}]+");

    private final Map<String, Integer> documents = new HashMap<>();
    private long count;

    BagOfWords(Corpus corpus) {
      try (Stream<String> passages = corpus.passages()) {
        passages.forEach(
            passage -> {
              words(passage).keySet().forEach(word -> documents.merge(word, 1, Integer::sum));
              count++;
            });
      }
    }

    private static Map<String, Integer> words(String text) {
      Map<String, Integer> words = new HashMap<>();
      WORD.matcher(text.toLowerCase(Locale.ROOT))
          .results()
          .forEach(match -> words.merge(match.group(), 1, Integer::sum));
      return words;
    }

    @Override
    public float[] encode(String text, Mode mode) {
      double[] sum = new double[DIMENSION];
      words(text)
          .forEach(
              (word, times) -> {
                double weight =
                    (1 + Math.log(times))
                        * Math.log((count + 1.0) / documents.getOrDefault(word, 1));
                Random random = new Random(word.hashCode());
                for (int i = 0; i < DIMENSION; i++) {
                  sum[i] += weight * random.nextGaussian();
                }
              });
      double square = 0;
      for (double value : sum) {
        square += value * value;
      }
      float[] vector = new float[DIMENSION];
      for (int i = 0; i < DIMENSION; i++) {
        vector[i] = (float) (sum[i] / Math.sqrt(Math.max(square, Float.MIN_NORMAL)));
      }
      return vector;
    }

    @Override
    public TextModes modes() {
      return TextModes.S2S;
    }

    @Override
    public int dimension() {
      return DIMENSION;
    }
  }
}
