package io.llara.benchmarks;

import io.llara.Similarity;
import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.InMemoryVectors;
import io.llara.retrieval.StoredVectors;
import io.llara.retrieval.VectorStorage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Exact search as mining uses it: the best passages of every query, out of a file of vectors.
 * Beside its seconds each line has {@code bareSeconds}, those of the {@linkplain BareProducts bare
 * blocked matrix product} of the same sizes, and {@code ratio}, which is how many times as long the
 * search takes. So that both meet the same machine, the product is measured before each search, in
 * turn with it, instead of in a benchmark of its own.
 */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 10, time = 1)
public class MiningBenchmark {

  /** Vectors, a search over them, and the bare product of the same sizes. */
  @State(Scope.Benchmark)
  public static class Sides {
    /** How many queries. */
    @Param("1000")
    public int queries;

    /** How many passages. */
    @Param("100000")
    public int passages;

    /** The length of the vectors. */
    @Param("1024")
    public int dimension;

    /** How many passages are found for each query. */
    @Param({"100", "200"})
    public int k;

    private Path folder;
    private StoredVectors stored;
    private InMemoryVectors asked;
    private ExactSearch search;
    private BareProducts bare;
    private double bareSeconds;

    /** Makes both sides. */
    @Setup
    public void open() throws IOException {
      int lanes = Runtime.getRuntime().availableProcessors();
      Random random = new Random(1);
      asked = new InMemoryVectors(unitVectors(queries, random));
      folder = Files.createTempDirectory("mining");
      stored = store(random);
      search = new ExactSearch(stored, lanes);
      check();
      bare = new BareProducts(queries, passages, dimension, lanes);
      System.out.println();
      System.out.println(Machine.describe());
      System.out.println("bare product: " + bare.describeWay());
    }

    /** Takes turns with the searches. */
    @Setup(Level.Iteration)
    public void measureBareProduct() {
      bareSeconds = Stopwatch.mean(1, bare::run);
    }

    private List<float[]> unitVectors(int count, Random random) {
      List<float[]> vectors = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        vectors.add(unitVector(random));
      }
      return vectors;
    }

    private float[] unitVector(Random random) {
      float[] vector = new float[dimension];
      for (int i = 0; i < dimension; i++) {
        vector[i] = (float) random.nextGaussian();
      }
      double length = Math.sqrt(Similarity.dot(vector, vector));
      for (int i = 0; i < dimension; i++) {
        vector[i] /= (float) length;
      }
      return vector;
    }

    private StoredVectors store(Random random) {
      Path file = folder.resolve("passages.vectors");
      StoredVectors.write(
          file, new InMemoryVectors(unitVectors(passages, random)), VectorStorage.FLOAT32);
      return StoredVectors.open(file);
    }

    /** A speed counts only for results that are right. */
    private void check() {
      List<float[]> first = new ArrayList<>();
      asked.forEachBlock(
          1,
          (index, rows, block) -> {
            if (index == 0) {
              float[] vector = new float[dimension];
              block.get(0, vector);
              first.add(vector);
            }
          });
      double[] best = {Double.NEGATIVE_INFINITY};
      long[] place = {-1};
      float[] passage = new float[dimension];
      stored.forEachBlock(
          1,
          (index, rows, block) -> {
            block.get(0, passage);
            double score = Similarity.dot(first.get(0), passage);
            if (score > best[0]) {
              best[0] = score;
              place[0] = index;
            }
          });
      Hits hits = search.search(new InMemoryVectors(first), k).get(0);
      if (hits.indices().get(0) != place[0] || Math.abs(hits.scores().get(0) - best[0]) > 1e-9) {
        throw new IllegalStateException(
            "the search is wrong: found %d, not %d".formatted(hits.indices().get(0), place[0]));
      }
    }

    private List<Hits> mine(Counters counters) {
      long begin = System.nanoTime();
      List<Hits> hits = search.search(asked, k);
      double seconds = (System.nanoTime() - begin) / 1e9;
      counters.add(seconds, bareSeconds);
      return hits;
    }

    /** Frees both sides. */
    @TearDown
    public void close() throws IOException {
      bare.close();
      search.close();
      stored.close();
      try (var files = Files.list(folder)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(folder);
    }
  }

  /** JMH divides the seconds of the iteration by each sum. */
  @AuxCounters(AuxCounters.Type.OPERATIONS)
  @State(Scope.Thread)
  public static class Counters {
    /** What gives the seconds of one bare product. */
    public double bareSeconds;

    /** What gives how many times as long a search takes. */
    public double ratio;

    /** Begins anew. */
    @Setup(Level.Iteration)
    public void reset() {
      bareSeconds = 0;
      ratio = 0;
    }

    void add(double seconds, double bare) {
      bareSeconds += seconds / bare;
      ratio += bare;
    }
  }

  /** Searches once. */
  @Benchmark
  public Object mine(Sides sides, Counters counters) {
    return sides.mine(counters);
  }
}
