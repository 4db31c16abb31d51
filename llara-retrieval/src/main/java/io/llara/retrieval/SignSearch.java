package io.llara.retrieval;

import com.google.common.collect.Lists;
import com.google.common.hash.HashCode;
import com.google.common.math.IntMath;
import com.google.common.primitives.Ints;
import io.llara.LlaraException;
import io.llara.io.TemporaryPath;
import java.math.RoundingMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.function.Consumer;

/**
 * Finds most of the largest inner products by the signs of the values alone, a bit each, and scores
 * what it found by the vectors: the candidates are those whose signs differ least from the query's
 * (Hamming distance), of equal ones those with the smaller index. All signs are looked at, which
 * are a 32nd of the bytes of float32 vectors; of these only the candidates are read.
 *
 * <p>Scores are those of {@link ExactSearch} over the same vectors. The result depends on nothing
 * but the vectors and the number of candidates.
 *
 * <p>Thread-safe. The vectors must live as long; closing leaves them open. Closing twice is
 * harmless.
 */
public final class SignSearch implements Searcher {
  /** A number of candidates for each hit that loses little. */
  public static final int OVERSAMPLING = 4;

  /** Signs of so many vectors are copied at once, and compared with several queries. */
  private static final int ROWS = 1024;

  private static final int QUERIES = 64;

  /** Where a candidate's index begins in a number that has its distance in front. */
  private static final int INDEX_BITS = 40;

  private final StoredVectors signs;
  private final StoredVectors vectors;
  private final int oversampling;
  private final SearchThreads threads;

  private SignSearch(StoredVectors signs, StoredVectors vectors, int oversampling, int threads) {
    this.signs = signs;
    this.vectors = vectors;
    this.oversampling = oversampling;
    this.threads = new SearchThreads(threads, () -> {});
  }

  /**
   * Opens the signs that lie beside a file of vectors, {@code FILE.signs}, or writes them there;
   * where they cannot be kept, a temporary folder does. Vectors that are stored as {@link
   * VectorStorage#BINARY} are their own signs.
   *
   * @param vectors the vectors, of any storage: what candidates are scored by
   * @param oversampling how many candidates are scored for each hit, at least 1
   * @param threads how many threads search
   * @param notes gets a sentence when signs that are there are of no use, or cannot be kept
   * @throws LlaraException if the vectors cannot be read
   */
  public static SignSearch open(
      StoredVectors vectors, int oversampling, int threads, Consumer<String> notes) {
    if (oversampling < 1) {
      throw new IllegalArgumentException(
          "oversampling is " + oversampling + "; expected 1 or more");
    }
    return new SignSearch(signs(vectors, notes), vectors, oversampling, threads);
  }

  private static StoredVectors signs(StoredVectors vectors, Consumer<String> notes) {
    if (vectors.storage() == VectorStorage.BINARY) {
      return vectors;
    }
    VectorHeader header =
        new VectorHeader(
            VectorHeader.UNKNOWN,
            HashCode.fromBytes(vectors.digest()).toString(),
            VectorStorage.BINARY,
            vectors.dimension(),
            vectors.count(),
            Shard.WHOLE);
    Path file = vectors.file().resolveSibling(vectors.file().getFileName() + ".signs");
    if (Files.exists(file)) {
      try {
        StoredVectors found = StoredVectors.open(file);
        if (found.header().equals(header)) {
          return found;
        }
        found.close();
        notes.accept("the signs will be written again: %s has those of others".formatted(file));
      } catch (LlaraException e) {
        notes.accept("the signs will be written again: " + e.getMessage());
      }
    }
    try {
      StoredVectors.write(file, vectors, header);
      return StoredVectors.open(file);
    } catch (LlaraException e) {
      notes.accept("the signs cannot be kept: " + e.getMessage());
    }
    TemporaryPath folder = TemporaryPath.folder("llara-signs");
    try {
      Path temporary = folder.path().resolve("vectors.signs");
      StoredVectors.write(temporary, vectors, header);
      return StoredVectors.open(temporary).in(folder);
    } catch (RuntimeException | Error e) {
      folder.close();
      throw e;
    }
  }

  /**
   * Finds vectors for queries that have vectors.
   *
   * @throws IllegalArgumentException if a dimension differs or {@code k} is not positive
   * @throws LlaraException if a query is not finite, a file is damaged, or this thread is
   *     interrupted
   * @throws IllegalStateException if this or the vectors are closed
   */
  @Override
  public List<Hits> search(List<Query> queries, int k) {
    threads.requireOpen();
    List<float[]> asked = queries.stream().map(Query::requireVector).toList();
    asked.forEach(query -> QueryProducts.requireFitting(query, k, vectors));
    if (vectors.count() == 0) {
      return Collections.nCopies(asked.size(), Hits.NONE);
    }
    int each = IntMath.divide(Math.max(1, asked.size()), threads.count(), RoundingMode.CEILING);
    return threads
        .map(Lists.partition(asked, Math.min(QUERIES, each)), some -> find(some, k))
        .stream()
        .flatMap(List::stream)
        .toList();
  }

  private List<Hits> find(List<float[]> queries, int k) {
    return vectors.reading(
        () ->
            signs.reading(
                () -> {
                  List<Candidates> candidates =
                      queries.stream().map(query -> new Candidates(query, k)).toList();
                  long[] block =
                      new long
                          [ROWS
                              * (VectorStorage.BINARY.rowBytes(vectors.dimension()) / Long.BYTES)];
                  for (long first = 0; first < signs.count(); first += ROWS) {
                    int rows = (int) Math.min(ROWS, signs.count() - first);
                    signs.readSigns(first, block, rows);
                    for (Candidates some : candidates) {
                      some.look(block, first, rows);
                    }
                  }
                  return candidates.stream().map(some -> some.best(k)).toList();
                }));
  }

  /** The nearest signs to those of a query. */
  private final class Candidates {
    private final float[] query;
    private final long[] asked;
    private final int wanted;

    /** A distance, and below it an index, each: small numbers are near. */
    private final long[] kept;

    private int size;

    /** Whatever is not smaller is none of the nearest. */
    private long limit = Long.MAX_VALUE;

    Candidates(float[] query, int k) {
      this.query = query;
      this.asked = VectorStorage.signs(query);
      this.wanted = (int) Math.min((long) k * oversampling, signs.count());
      this.kept = new long[Ints.saturatedCast(2L * wanted + ROWS)];
    }

    void look(long[] block, long first, int rows) {
      int place = 0;
      for (int row = 0; row < rows; row++) {
        long distance = 0;
        for (long bits : asked) {
          distance += Long.bitCount(bits ^ block[place++]);
        }
        long candidate = distance << INDEX_BITS | first + row;
        if (candidate < limit) {
          if (size == kept.length) {
            cut();
          }
          kept[size++] = candidate;
        }
      }
    }

    private void cut() {
      Arrays.sort(kept, 0, size);
      if (size >= wanted) {
        size = wanted;
        limit = kept[size - 1];
      }
    }

    /** Scores the candidates, in the order of the file. */
    Hits best(int k) {
      cut();
      double[] wide = InnerProduct.widened(query);
      float[] vector = new float[query.length];
      TopHits best = new TopHits(Math.min(k, wanted));
      Arrays.stream(kept, 0, size)
          .map(candidate -> candidate & (1L << INDEX_BITS) - 1)
          .sorted()
          .forEach(
              index -> {
                vectors.read(index, vector);
                best.offer(index, InnerProduct.of(wide, vector));
              });
      return best.drain();
    }
  }

  @Override
  public void close() {
    threads.close();
    if (signs != vectors) {
      signs.close();
    }
  }
}
