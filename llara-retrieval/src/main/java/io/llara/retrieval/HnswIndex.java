package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import com.google.common.base.Throwables;
import com.google.common.math.LongMath;
import com.google.common.util.concurrent.ThreadFactoryBuilder;
import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import io.llara.tensor.Libtorch;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.RoundingMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.TopKnnCollector;
import org.apache.lucene.util.hnsw.HnswGraph;
import org.apache.lucene.util.hnsw.HnswGraphBuilder;
import org.apache.lucene.util.hnsw.HnswGraphSearcher;
import org.apache.lucene.util.hnsw.RandomVectorScorer;
import org.apache.lucene.util.hnsw.RandomVectorScorerSupplier;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.openblas.global.openblas;

/**
 * Graphs over the vectors of a file that find most of the largest inner products without looking at
 * all (HNSW, arXiv 1603.09320), built and walked by Lucene. For vectors of length 1 these are the
 * nearest by cosine.
 *
 * <p>The graphs lie in a folder beside the vectors, which they do not repeat: one for each segment
 * of up to {@value #MOST_ROWS} vectors, so that they are built on all cores and on a small heap,
 * and need not be merged into one. A search walks all of them. The vectors found are scored again
 * as {@link ExactSearch} scores them: where both find the same vector its score is the same. How
 * much is missed is what {@link #recall} tells.
 *
 * <p>Thread-safe. The vectors must live as long; closing leaves them open. Closing twice is
 * harmless.
 */
public final class HnswIndex implements Searcher {
  /** No graph is over more vectors: building one takes some 300 bytes of heap for each. */
  private static final int MOST_ROWS = 1 << 18;

  /** As many graphs as that, for as many cores, if each is over so many vectors at least. */
  private static final int FEW = 8;

  private static final int LEAST_ROWS = 1 << 15;

  private static final long SEED = 42;

  private final StoredVectors vectors;
  private final HnswOptions options;
  private final List<HnswSegment> segments;
  private final SearchThreads threads;
  private final Optional<TemporaryPath> temporary;

  private HnswIndex(
      StoredVectors vectors,
      HnswOptions options,
      Path dir,
      int threads,
      Optional<TemporaryPath> temporary) {
    this.vectors = vectors;
    this.options = options;
    this.segments = segments(dir, vectors, options);
    this.threads = new SearchThreads(threads, () -> {});
    this.temporary = temporary;
  }

  /**
   * Opens the graphs that lie beside a file of vectors, on all processors; builds them if there are
   * none of these vectors and options. Of the same vectors and options the graphs are the same,
   * however many processors build them.
   *
   * @throws LlaraException if a vector is not finite (the message names it), the graphs cannot be
   *     written, or this thread is interrupted; nothing is left then
   */
  public static HnswIndex open(StoredVectors vectors, HnswOptions options) {
    return open(vectors, options, Runtime.getRuntime().availableProcessors(), note -> {});
  }

  /**
   * Opens or builds the graphs, as {@link #open(StoredVectors, HnswOptions)}; where none can be
   * kept, a temporary folder does.
   *
   * @param threads how many threads build and search
   * @param notes gets a sentence when graphs that are there are of no use, or cannot be kept
   */
  public static HnswIndex open(
      StoredVectors vectors, HnswOptions options, int threads, Consumer<String> notes) {
    return open(vectors, options, threads, segmentRows(vectors.count()), notes);
  }

  /**
   * Where segments end decides what the graphs look like: it must depend neither on the number of
   * cores nor on the size of a heap.
   */
  private static int segmentRows(long count) {
    long segments =
        Math.max(
            LongMath.divide(count, MOST_ROWS, RoundingMode.CEILING),
            Math.min(FEW, LongMath.divide(count, LEAST_ROWS, RoundingMode.CEILING)));
    return (int) LongMath.divide(count, Math.max(1, segments), RoundingMode.CEILING);
  }

  /** Opens or builds graphs of so many vectors each. */
  static HnswIndex open(
      StoredVectors vectors,
      HnswOptions options,
      int threads,
      int segment,
      Consumer<String> notes) {
    Path dir = beside(vectors.file(), options);
    if (Files.exists(dir)) {
      try {
        return new HnswIndex(vectors, options, dir, threads, Optional.empty());
      } catch (LlaraException e) {
        notes.accept("the graphs will be built again: " + e.getMessage());
        delete(dir);
      }
    }
    try {
      AtomicFiles.writeDirectory(dir, aside -> build(aside, vectors, options, threads, segment));
      return new HnswIndex(vectors, options, dir, threads, Optional.empty());
    } catch (LlaraException e) {
      if (Files.isDirectory(dir)) {
        // Another process was faster.
        return new HnswIndex(vectors, options, dir, threads, Optional.empty());
      }
      if (!(e.getCause() instanceof IOException)) {
        throw e;
      }
      notes.accept("the graphs cannot be kept: " + e.getMessage());
    }
    TemporaryPath folder = TemporaryPath.folder("llara-hnsw");
    try {
      build(folder.path(), vectors, options, threads, segment);
      return new HnswIndex(vectors, options, folder.path(), threads, Optional.of(folder));
    } catch (RuntimeException | Error e) {
      folder.close();
      throw e;
    }
  }

  /** Returns the folder of a file's graphs: {@code passages.vectors.m16-ef200.hnsw}. */
  static Path beside(Path file, HnswOptions options) {
    return file.resolveSibling(
        String.format(
            Locale.ROOT,
            "%s.m%d-ef%d.hnsw",
            file.getFileName(),
            options.maxConnections(),
            options.efConstruction()));
  }

  private static Path file(Path dir, int segment) {
    return dir.resolve(String.format(Locale.ROOT, "segment-%05d", segment));
  }

  private static void delete(Path dir) {
    try {
      TemporaryPath.delete(dir);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be deleted: %s".formatted(dir, Messages.reason(e)), e);
    }
  }

  private static List<HnswSegment> segments(Path dir, StoredVectors vectors, HnswOptions options) {
    List<HnswSegment> opened = new ArrayList<>();
    try {
      for (long first = 0; first < vectors.count(); ) {
        Path file = file(dir, opened.size());
        try {
          opened.add(HnswSegment.open(file, vectors, options, first));
        } catch (IOException e) {
          throw new LlaraException(
              "%s: the graph cannot be read: %s".formatted(file, Messages.reason(e)), e);
        }
        first += opened.get(opened.size() - 1).rows();
      }
      return List.copyOf(opened);
    } catch (RuntimeException e) {
      opened.forEach(HnswSegment::close);
      throw e;
    }
  }

  private static void build(
      Path dir, StoredVectors vectors, HnswOptions options, int threads, int segment) {
    Libtorch.load();
    if (vectors.count() == 0) {
      return;
    }
    int tasks = Math.toIntExact(LongMath.divide(vectors.count(), segment, RoundingMode.CEILING));
    ExecutorService executor =
        Executors.newFixedThreadPool(
            Math.min(threads, tasks),
            new ThreadFactoryBuilder().setNameFormat("llara-hnsw-%d").setDaemon(true).build());
    try {
      List<Future<?>> futures = new ArrayList<>();
      for (int i = 0; i < tasks; i++) {
        Path file = file(dir, i);
        long first = (long) i * segment;
        int rows = (int) Math.min(segment, vectors.count() - first);
        futures.add(
            executor.submit(
                () ->
                    vectors.reading(
                        () -> {
                          build(file, vectors, options, first, rows);
                          return file;
                        })));
      }
      for (Future<?> future : futures) {
        future.get();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LlaraException("interrupted while graphs were built", e);
    } catch (ExecutionException e) {
      Throwables.throwIfUnchecked(requireNonNull(e.getCause()));
      throw new IllegalStateException(e);
    } finally {
      // What still runs looks for the interrupt.
      executor.shutdownNow();
      Uninterruptibles.awaitTerminationUninterruptibly(executor);
    }
  }

  private static void build(
      Path file, StoredVectors vectors, HnswOptions options, long first, int rows) {
    try (FloatPointer memory = memory(vectors, first, rows)) {
      Rows scorers = new Rows(memory, rows, vectors.dimension());
      for (int i = 0; i < rows; i++) {
        vectors.check(first + i);
        double length = Math.sqrt(scorers.scorer(i).score(i));
        if (!(length <= ExactSearch.MOST_LENGTH)) {
          float[] vector = new float[vectors.dimension()];
          vectors.read(first + i, vector);
          throw ExactSearch.unusable("passages", first + i, vector);
        }
      }
      HnswSegment.write(
          file,
          vectors,
          options,
          first,
          HnswGraphBuilder.create(
                  scorers, options.maxConnections(), options.efConstruction(), SEED, rows)
              .build(rows));
    } catch (IOException e) {
      throw new LlaraException(
          "%s: the graph cannot be written: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  /** Returns float32 vectors where they lie in their file, or a copy. */
  private static FloatPointer memory(StoredVectors vectors, long first, int rows) {
    if (vectors.storage() == VectorStorage.FLOAT32) {
      return vectors.floats(first);
    }
    FloatPointer memory = new FloatPointer((long) rows * vectors.dimension());
    vectors.copy(first, rows, memory);
    return memory;
  }

  /** Inner products of the vectors of a segment with each other; for one thread. */
  private static final class Rows implements RandomVectorScorerSupplier {
    private final FloatPointer memory;
    private final int rows;
    private final int dimension;

    /** Moved from one vector to another. */
    private final FloatPointer other;

    Rows(FloatPointer memory, int rows, int dimension) {
      this.memory = memory;
      this.rows = rows;
      this.dimension = dimension;
      this.other = new FloatPointer(memory);
    }

    @Override
    public RandomVectorScorer scorer(int node) {
      if (Thread.currentThread().isInterrupted()) {
        throw new LlaraException("interrupted while graphs were built");
      }
      FloatPointer one = new FloatPointer(memory).position((long) node * dimension);
      return new RandomVectorScorer() {
        @Override
        public float score(int of) {
          return openblas.cblas_sdot(dimension, one, 1, other.position((long) of * dimension), 1);
        }

        @Override
        public int maxOrd() {
          return rows;
        }
      };
    }

    @Override
    public RandomVectorScorerSupplier copy() {
      return new Rows(memory, rows, dimension);
    }
  }

  /** Returns how many vectors there are. */
  public long count() {
    return vectors.count();
  }

  /** Returns the length of each. */
  public int dimension() {
    return vectors.dimension();
  }

  /** Returns what the graphs were built with, and how they are searched. */
  public HnswOptions options() {
    return options;
  }

  /**
   * Finds vectors with the largest inner products with a query, best first; of equal ones the
   * smaller index comes first. In each of S graphs a walk keeps {@code efSearch / √S} candidates,
   * or {@code k} if that is more; the best {@code k} of all are returned.
   *
   * @param query {@code [dimension]}
   * @param k how many; all if there are fewer
   * @throws IllegalArgumentException if the dimension differs or {@code k} is not positive
   * @throws LlaraException if the query is not finite, or a file is damaged
   * @throws IllegalStateException if the index or its vectors are closed
   */
  public Hits search(float[] query, int k) {
    QueryProducts.requireFitting(query, k, vectors);
    return best(query, k, segments.stream().map(segment -> candidates(segment, query, k)).toList());
  }

  /** Several graphs find together what one would need more candidates for. */
  private int perSegment() {
    return (int) Math.ceil(options.efSearch() / Math.sqrt(segments.size()));
  }

  /** A vector that a graph found, and its score in float32. */
  private record Candidate(long index, float score) {}

  private List<Candidate> candidates(HnswSegment segment, float[] query, int k) {
    return vectors.reading(
        () ->
            segment.reading(
                graph -> {
                  List<Candidate> candidates = new ArrayList<>();
                  try (QueryProducts products = new QueryProducts(vectors, query)) {
                    int wanted = Math.max(k, perSegment());
                    if (wanted >= segment.rows()) {
                      // Not along the graph, which need not lead everywhere.
                      for (int node = 0; node < segment.rows(); node++) {
                        long index = segment.first() + node;
                        candidates.add(new Candidate(index, products.of(index)));
                      }
                    } else {
                      for (ScoreDoc hit : walk(graph, segment.first(), products, wanted)) {
                        candidates.add(new Candidate(segment.first() + hit.doc, hit.score));
                      }
                    }
                  }
                  return candidates;
                }));
  }

  private static ScoreDoc[] walk(HnswGraph graph, long first, QueryProducts products, int wanted) {
    TopKnnCollector found = new TopKnnCollector(wanted, Integer.MAX_VALUE);
    try {
      HnswGraphSearcher.search(
          new RandomVectorScorer() {
            @Override
            public float score(int node) {
              return products.of(first + node);
            }

            @Override
            public int maxOrd() {
              return graph.size();
            }
          },
          found,
          graph,
          null);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return found.topDocs().scoreDocs;
  }

  /** Scores the best candidates of all segments again, in the order of the file. */
  private Hits best(float[] query, int k, List<List<Candidate>> candidates) {
    // Also where there are no segments: closed is closed.
    threads.requireOpen();
    return vectors.reading(
        () -> {
          double[] wide = InnerProduct.widened(query);
          float[] vector = new float[query.length];
          TopHits best = new TopHits((int) Math.min(k, Math.max(1, count())));
          candidates.stream()
              .flatMap(List::stream)
              .sorted(Comparator.comparingDouble(Candidate::score).reversed())
              .limit(Math.max(k, options.efSearch()))
              .mapToLong(Candidate::index)
              .sorted()
              .forEach(
                  index -> {
                    vectors.read(index, vector);
                    best.offer(index, InnerProduct.of(wide, vector));
                  });
          return best.drain();
        });
  }

  /** Searches for the vectors of the queries: several at once, or all graphs at once for one. */
  @Override
  public List<Hits> search(List<Query> queries, int k) {
    if (queries.size() >= threads.count() || segments.size() < 2) {
      return threads.map(queries, query -> search(query.requireVector(), k));
    }
    List<Hits> found = new ArrayList<>();
    for (Query query : queries) {
      float[] vector = query.requireVector();
      QueryProducts.requireFitting(vector, k, vectors);
      found.add(best(vector, k, threads.map(segments, segment -> candidates(segment, vector, k))));
    }
    return found;
  }

  /**
   * Returns recall@k against exact search: which part of the best {@code k} this index finds, as a
   * mean over the queries. A vector that scores as the last of the exact hits counts as one of
   * them, whichever of equals was kept there.
   *
   * @param queries the queries
   * @param exact what {@link ExactSearch} found for them in the vectors of this index, at least
   *     {@code k} for each
   * @param k how many of each count, if there are so many
   * @throws IllegalArgumentException if there are no queries, or too few exact hits
   * @throws RuntimeException as {@link #search(float[], int)}
   */
  public double recall(List<Query> queries, List<Hits> exact, int k) {
    return EmbeddingSearcher.recall(this, count(), queries, exact, k);
  }

  @Override
  public void close() {
    threads.close();
    segments.forEach(HnswSegment::close);
    temporary.ifPresent(TemporaryPath::close);
  }
}
