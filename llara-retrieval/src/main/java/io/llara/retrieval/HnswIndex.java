package io.llara.retrieval;

import com.google.common.primitives.Ints;
import io.llara.LlaraException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.lucene.analysis.core.KeywordAnalyzer;
import org.apache.lucene.codecs.KnnVectorsFormat;
import org.apache.lucene.codecs.lucene912.Lucene912Codec;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.KnnFloatVectorField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.FloatVectorValues;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.LeafReader;
import org.apache.lucene.index.LogDocMergePolicy;
import org.apache.lucene.index.VectorSimilarityFunction;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.util.ThreadInterruptedException;

/**
 * A graph over vectors that finds most of the largest inner products without looking at all (HNSW,
 * arXiv 1603.09320), by Lucene. For vectors of length 1 these are the nearest by cosine. It lies on
 * disk, one segment in a folder of its own, and is mapped into memory.
 *
 * <p>The vectors found are scored again as {@link ExactSearch} scores them: where both find the
 * same vector its score is the same. How much is missed is what {@link #recall} tells.
 *
 * <p>Thread-safe. Closing it ends the mapping; closing twice is harmless.
 */
public final class HnswIndex implements Searcher {
  private static final String FIELD = "vector";

  private static final String FORMAT = "llara.format";
  private static final String FORMAT_NAME = "hnsw-1";
  private static final String COUNT = "llara.count";
  private static final String DIMENSION = "llara.dimension";
  private static final String MAX_CONNECTIONS = "llara.maxConnections";
  private static final String EF_CONSTRUCTION = "llara.efConstruction";
  private static final String EF_SEARCH = "llara.efSearch";

  /**
   * So many bytes of vectors are on the heap while a graph is built. Fixed: where segments end
   * decides what the graph looks like, which must not depend on the size of a heap.
   */
  private static final long BUFFERED_BYTES = 64L << 20;

  /** More than there can be: none are merged before the end. */
  private static final int MOST_SEGMENTS = 1 << 24;

  /** So many vectors are read at a time. */
  private static final int BLOCK = 256;

  private final LuceneFolder folder;
  private final int count;
  private final int dimension;
  private final HnswOptions options;
  private final SearchThreads threads;

  private HnswIndex(LuceneFolder folder, int threads) {
    this.folder = folder;
    this.count = number(COUNT);
    this.dimension = number(DIMENSION);
    this.options =
        new HnswOptions(number(MAX_CONNECTIONS), number(EF_CONSTRUCTION), number(EF_SEARCH));
    this.threads = new SearchThreads(threads, () -> {});
    folder.requireOneSegment();
    if (folder.reader().maxDoc() != count) {
      throw folder.error(
          "holds %d vectors; expected %d".formatted(folder.reader().maxDoc(), count));
    }
  }

  private int number(String key) {
    String value = String.valueOf(folder.data().get(key));
    Integer number = Ints.tryParse(value);
    if (number == null) {
      throw folder.error("%s is \"%s\"; expected a number".formatted(key, value));
    }
    return number;
  }

  /**
   * Builds an index, on this thread: of the same vectors and options the same graph. The folder
   * appears when it is complete; nothing is left if building fails or is interrupted, and nothing
   * of its name if the process dies.
   *
   * @param dir a new or empty folder
   * @param vectors of at most 8,192 dimensions
   * @throws IllegalArgumentException if there are too many dimensions or vectors
   * @throws LlaraException if the folder is not new or empty or cannot be written, a vector is not
   *     finite (the message names it), or this thread is interrupted
   */
  public static void build(Path dir, VectorSet vectors, HnswOptions options) {
    build(dir, vectors, options, segment(vectors));
  }

  /** Builds an index out of segments of so many vectors, at least 2. */
  static void build(Path dir, VectorSet vectors, HnswOptions options, int segment) {
    requireFitting(vectors);
    LuceneFolder.write(dir, config(options, segment), writer -> write(writer, vectors, options));
  }

  /** Builds an index in a temporary folder, which {@link #close} deletes. */
  static HnswIndex build(VectorSet vectors, HnswOptions options, int threads) {
    requireFitting(vectors);
    return opened(
        LuceneFolder.temporary(
            FORMAT,
            FORMAT_NAME,
            config(options, segment(vectors)),
            writer -> write(writer, vectors, options)),
        threads);
  }

  private static int segment(VectorSet vectors) {
    long vectorBytes = Math.max(1, vectors.dimension()) * (long) Float.BYTES;
    return (int) Math.max(2, BUFFERED_BYTES / vectorBytes);
  }

  private static void requireFitting(VectorSet vectors) {
    if (vectors.dimension() > WideHnswFormat.MOST_DIMENSIONS) {
      throw new IllegalArgumentException(
          "the vectors have the dimension %d; an index takes at most %d"
              .formatted(vectors.dimension(), WideHnswFormat.MOST_DIMENSIONS));
    }
    if (vectors.count() > IndexWriter.MAX_DOCS) {
      throw new IllegalArgumentException(
          "%d vectors are too many; an index takes at most %d"
              .formatted(vectors.count(), IndexWriter.MAX_DOCS));
    }
  }

  private static Map<String, String> write(
      IndexWriter writer, VectorSet vectors, HnswOptions options) {
    vectors.forEachBlock(BLOCK, (first, rows, block) -> add(writer, vectors, first, rows, block));
    return Map.of(
        FORMAT, FORMAT_NAME,
        COUNT, Long.toString(vectors.count()),
        DIMENSION, Integer.toString(vectors.dimension()),
        MAX_CONNECTIONS, Integer.toString(options.maxConnections()),
        EF_CONSTRUCTION, Integer.toString(options.efConstruction()),
        EF_SEARCH, Integer.toString(options.efSearch()));
  }

  private static IndexWriterConfig config(HnswOptions options, int segment) {
    KnnVectorsFormat format = new WideHnswFormat(options);
    // Adjacent segments are merged, all at once at the end: a vector's number stays its place.
    LogDocMergePolicy merges = new LogDocMergePolicy();
    merges.setMergeFactor(MOST_SEGMENTS);
    merges.setNoCFSRatio(0);
    return LuceneFolder.config(new KeywordAnalyzer())
        .setCodec(
            new Lucene912Codec() {
              @Override
              public KnnVectorsFormat getKnnVectorsFormatForField(String field) {
                return format;
              }
            })
        .setMergePolicy(merges)
        .setUseCompoundFile(false)
        .setMaxBufferedDocs(segment)
        .setRAMBufferSizeMB(IndexWriterConfig.DISABLE_AUTO_FLUSH);
  }

  private static void add(
      IndexWriter writer, VectorSet vectors, long first, int rows, FloatBuffer block) {
    if (Thread.currentThread().isInterrupted()) {
      throw new ThreadInterruptedException(new InterruptedException());
    }
    for (int i = 0; i < rows; i++) {
      float[] vector = new float[vectors.dimension()];
      block.get(i * vector.length, vector);
      requireFinite(vector, "vector " + (first + i));
      Document document = new Document();
      document.add(
          new KnnFloatVectorField(FIELD, vector, VectorSimilarityFunction.MAXIMUM_INNER_PRODUCT));
      try {
        writer.addDocument(document);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private static void requireFinite(float[] vector, String name) {
    for (int i = 0; i < vector.length; i++) {
      if (!Float.isFinite(vector[i])) {
        throw new LlaraException(
            "%s: value %d is %s; expected finite ones".formatted(name, i, vector[i]));
      }
    }
  }

  /**
   * Opens an index that {@link #build} made.
   *
   * @throws LlaraException if the folder does not hold one, or it cannot be read
   */
  public static HnswIndex open(Path dir) {
    return opened(
        LuceneFolder.open(dir, FORMAT, FORMAT_NAME), Runtime.getRuntime().availableProcessors());
  }

  private static HnswIndex opened(LuceneFolder folder, int threads) {
    try {
      return new HnswIndex(folder, threads);
    } catch (RuntimeException | Error e) {
      folder.close();
      throw e;
    }
  }

  /** Returns how many vectors there are. */
  public int count() {
    return count;
  }

  /** Returns the length of each. */
  public int dimension() {
    return dimension;
  }

  /** Returns what the index was built with. */
  public HnswOptions options() {
    return options;
  }

  /**
   * Finds vectors with the largest inner products with a query, best first; of equal ones the
   * smaller index comes first. Of {@code efSearch} candidates, or {@code k} if that is more, the
   * best {@code k} are returned.
   *
   * @param query {@code [dimension]}
   * @param k how many; all if there are fewer
   * @throws IllegalArgumentException if the dimension differs or {@code k} is not positive
   * @throws LlaraException if the query is not finite or the index cannot be read
   * @throws IllegalStateException if the index is closed
   */
  public Hits search(float[] query, int k) {
    if (k < 1) {
      throw new IllegalArgumentException("k is " + k + "; expected 1 or more");
    }
    if (query.length != dimension && count > 0) {
      throw new IllegalArgumentException(
          "the query has the dimension %d, the index %d".formatted(query.length, dimension));
    }
    requireFinite(query, "the query");
    return folder.read(
        // Also when there are no vectors: closed is closed.
        reader -> count == 0 ? Hits.NONE : search(reader, query, Math.min(k, count)));
  }

  private Hits search(DirectoryReader reader, float[] query, int k) throws IOException {
    LeafReader leaf = reader.leaves().get(0).reader();
    int candidates = Math.min(count, Math.max(k, options.efSearch()));
    ScoreDoc[] found =
        leaf.searchNearestVectors(FIELD, query, candidates, null, Integer.MAX_VALUE).scoreDocs;
    // In their order on disk, which is the only way through them.
    int[] places = Arrays.stream(found).mapToInt(candidate -> candidate.doc).sorted().toArray();
    FloatVectorValues values = leaf.getFloatVectorValues(FIELD);
    double[] wide = InnerProduct.widened(query);
    TopHits best = new TopHits(k);
    for (int place : places) {
      values.advance(place);
      best.offer(place, InnerProduct.of(wide, values.vectorValue()));
    }
    return best.drain();
  }

  /** Searches for the vectors of the queries, several at once. */
  @Override
  public List<Hits> search(List<Query> queries, int k) {
    return threads.map(queries, query -> search(query.requireVector(), k));
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
    if (exact.isEmpty() || queries.size() != exact.size()) {
      throw new IllegalArgumentException(
          "there are exact hits for %d of %d queries; expected them for one query or more"
              .formatted(exact.size(), queries.size()));
    }
    List<Hits> found = search(queries, k);
    double sum = 0;
    for (int i = 0; i < exact.size(); i++) {
      int wanted = Math.min(k, count);
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
    threads.close();
    folder.close();
  }
}
