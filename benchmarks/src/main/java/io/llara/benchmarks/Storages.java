package io.llara.benchmarks;

import static java.util.Objects.requireNonNull;

import com.google.common.base.Splitter;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.TextModes;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.CorpusVectors;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.InMemoryVectors;
import io.llara.retrieval.Query;
import io.llara.retrieval.Searcher;
import io.llara.retrieval.SignSearch;
import io.llara.retrieval.StoredVectors;
import io.llara.retrieval.TextSet;
import io.llara.retrieval.VectorSet;
import io.llara.retrieval.VectorStorage;
import io.llara.retrieval.eval.BeirDataset;
import io.llara.retrieval.eval.BeirEvaluator;
import io.llara.retrieval.eval.Evaluation;
import io.llara.retrieval.eval.Metric;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What fewer dimensions and smaller storages cost: bytes and retrieval of test collections. The
 * passages are encoded once, cut to each dimension, and stored in each way; queries are float32.
 * The vectors that are stored are searched exactly, and by their signs first ({@link SignSearch}),
 * the candidates scored by what is stored.
 *
 * <pre>{@code
 * Storages MODEL CACHE DIMENSION,… FOLDER…
 * }</pre>
 *
 * <p>The model is a directory, {@value DefaultEncoder#NAME}{@code :COMPUTE_TYPE} or {@value
 * #BAG_OF_WORDS}; a dimension of 0 is all of them.
 */
public final class Storages {
  private static final String BAG_OF_WORDS = "bag-of-words";
  private static final String DEFAULT = DefaultEncoder.NAME + ":";
  private static final int HITS = 100;

  private Storages() {}

  /** Prints the table. */
  public static void main(String[] args) throws IOException {
    if (args.length < 4) {
      System.err.println("usage: Storages MODEL CACHE DIMENSION,… FOLDER…");
      System.exit(2);
    }
    int[] dimensions =
        Splitter.on(',').splitToStream(args[2]).mapToInt(Integer::parseInt).toArray();
    System.out.println(Machine.describe());
    System.out.println();
    System.out.println(
        "| collection | dimensions | storage | bytes | nDCG@10 | Recall@100 | of all float32's 100 |");
    System.out.println("|---|---:|---|---:|---:|---:|---:|");
    for (String folder : Arrays.asList(args).subList(3, args.length)) {
      BeirDataset dataset = BeirDataset.open(Path.of(folder), BeirEvaluator.DEFAULT_SPLIT);
      try (Encoder encoder = encoder(args[0], dataset.corpus());
          TemporaryPath stored = TemporaryPath.folder("llara-storages")) {
        new Comparison(dataset, encoder, place(args[0], Path.of(args[1])))
            .print(dimensions, stored.path());
      }
    }
  }

  private static Encoder encoder(String model, Corpus corpus) {
    if (model.equals(BAG_OF_WORDS)) {
      return new BagOfWords(corpus);
    }
    if (model.startsWith(DEFAULT)) {
      String type = model.substring(DEFAULT.length());
      return DefaultEncoder.open(type, Runtime.getRuntime().availableProcessors());
    }
    return Encoder.load(Path.of(model));
  }

  private static CachePlace place(String model, Path cache) {
    if (model.equals(BAG_OF_WORDS)) {
      return new CachePlace(cache, BAG_OF_WORDS);
    }
    return model.startsWith(DEFAULT)
        ? DefaultEncoder.place(cache)
        : CachePlace.of(cache, Path.of(model), Optional.empty());
  }

  /** One collection. */
  private static final class Comparison {
    private final BeirDataset dataset;
    private final List<float[]> passages;
    private final Map<String, float[]> queries = new HashMap<>();

    Comparison(BeirDataset dataset, Encoder encoder, CachePlace place) {
      this.dataset = dataset;
      List<String> texts = dataset.queries().values().stream().distinct().toList();
      Iterator<float[]> vectors =
          vectors(
                  TextSet.of("queries", texts),
                  encoder.forQueries(),
                  encoder.modes().query(),
                  place)
              .iterator();
      texts.forEach(text -> queries.put(text, vectors.next()));
      this.passages =
          vectors(
              TextSet.of(dataset.corpus(), dataset.summary()),
              encoder.forPassages(),
              encoder.modes().passage(),
              place);
    }

    private static List<float[]> vectors(
        TextSet texts, Encoder encoder, Mode mode, CachePlace place) {
      List<float[]> all = new ArrayList<>();
      try (StoredVectors stored =
          CorpusVectors.open(texts, encoder, mode, place, System.err::println)) {
        stored.forEachBlock(
            1,
            (first, rows, block) -> {
              float[] vector = new float[stored.dimension()];
              block.get(vector);
              all.add(vector);
            });
      }
      return all;
    }

    void print(int[] dimensions, Path folder) throws IOException {
      int all = passages.get(0).length;
      List<Hits> truth;
      try (ExactSearch search = new ExactSearch(new InMemoryVectors(passages), 1)) {
        truth = new Cut(search, queries, all).search(asked(), HITS);
      }
      for (int wanted : dimensions) {
        int dimension = wanted == 0 ? all : wanted;
        VectorSet cut =
            new InMemoryVectors(passages.stream().map(row -> cut(row, dimension)).toList());
        for (VectorStorage storage : VectorStorage.values()) {
          Path file = folder.resolve(dimension + "." + storage);
          StoredVectors.write(file, cut, storage);
          String name = storage.name().toLowerCase(Locale.ROOT);
          try (StoredVectors stored = StoredVectors.open(file);
              ExactSearch exact = new ExactSearch(stored, 1);
              SignSearch signs =
                  SignSearch.open(stored, SignSearch.OVERSAMPLING, 1, System.err::println)) {
            long bytes = Files.size(file);
            print("%d | %s | %d".formatted(dimension, name, bytes), exact, dimension, truth);
            print("%d | signs, then %s | ".formatted(dimension, name), signs, dimension, truth);
          }
        }
      }
    }

    private List<Query> asked() {
      return dataset.queries().values().stream().map(Query::of).toList();
    }

    private void print(String what, Searcher searcher, int dimension, List<Hits> truth) {
      Searcher search = new Cut(searcher, queries, dimension);
      Evaluation evaluation = BeirEvaluator.of(dataset).evaluate(what, search);
      List<Hits> found = search.search(asked(), HITS);
      double shared = 0;
      for (int i = 0; i < found.size(); i++) {
        HashSet<Long> same = new HashSet<>(truth.get(i).indices().asList());
        int of = same.size();
        same.retainAll(found.get(i).indices().asList());
        shared += (double) same.size() / of;
      }
      System.out.printf(
          Locale.ROOT,
          "| %s | %s | %.4f | %.4f | %.4f |%n",
          dataset.name(),
          what,
          evaluation.mean(Metric.ndcg(10)),
          evaluation.mean(Metric.recall(HITS)),
          shared / found.size());
    }
  }

  /** Returns the first values of a vector, scaled to length 1. */
  private static float[] cut(float[] vector, int dimension) {
    float[] cut = Arrays.copyOf(vector, dimension);
    double length = Math.sqrt(Similarity.dot(cut, cut));
    for (int i = 0; i < dimension; i++) {
      cut[i] = (float) (cut[i] / length);
    }
    return cut;
  }

  /** Search for queries whose vectors are there. */
  private record Cut(Searcher search, Map<String, float[]> queries, int dimension)
      implements Searcher {
    @Override
    public List<Hits> search(List<Query> asked, int k) {
      return search.search(
          asked.stream()
              .map(query -> requireNonNull(queries.get(query.text().orElseThrow())))
              .map(vector -> Query.of(cut(vector, dimension)))
              .toList(),
          k);
    }

    /** The search stays open. */
    @Override
    public void close() {}
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
