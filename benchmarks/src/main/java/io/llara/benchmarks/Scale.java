package io.llara.benchmarks;

import io.llara.Similarity;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.HnswIndex;
import io.llara.retrieval.HnswOptions;
import io.llara.retrieval.InMemoryVectors;
import io.llara.retrieval.Query;
import io.llara.retrieval.StoredVectors;
import io.llara.retrieval.VectorSet;
import io.llara.retrieval.VectorStorage;
import io.llara.tensor.Libtorch;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.stream.Stream;
import org.bytedeco.javacpp.FloatPointer;

/**
 * Storing, indexing and searching many vectors: seconds and bytes, and what the graphs miss.
 *
 * <p>The vectors are made, as Gaussian noise of hundreds of dimensions has no neighbourhoods that a
 * graph could lead to, while embeddings have: a point in 32 dimensions, around one of a thousand
 * centres, goes through two layers of random weights with a tanh between, into the vector's
 * dimensions; a tenth of its length is noise; it is scaled to length 1. Queries are made likewise.
 * The intrinsic dimension is estimated by the ratio of the distances to the two nearest neighbours
 * (TwoNN, Facco et al. 2017, doi:10.1038/s41598-017-11873-y), to be compared with that of real
 * embeddings, which the program tells of any file of vectors.
 */
public final class Scale {
  private static final int QUERIES = 1000;
  private static final int K = 100;

  private Scale() {}

  /**
   * Runs: {@code FILE.vectors COUNT DIMENSION STORAGE THREADS[,THREADS…]}, or {@code FILE.vectors}
   * for the intrinsic dimension of what is there.
   */
  public static void main(String[] args) throws IOException {
    Path file = Path.of(args[0]);
    // Not to be measured.
    Libtorch.load();
    print("%s; heap of %d MiB", Machine.describe(), Runtime.getRuntime().maxMemory() >> 20);
    if (args.length == 1) {
      try (StoredVectors vectors = StoredVectors.open(file)) {
        print("%d × %d", vectors.count(), vectors.dimension());
        print("intrinsic dimension %.1f", intrinsicDimension(vectors));
      }
      return;
    }
    int count = Integer.parseInt(args[1]);
    int dimension = Integer.parseInt(args[2]);
    VectorStorage storage = VectorStorage.valueOf(args[3].toUpperCase(Locale.ROOT));
    print("%d × %d, %s", count, dimension, args[3]);
    Generated generated = new Generated(count, dimension, 1);
    if (!Files.exists(file)) {
      double seconds = seconds(() -> StoredVectors.write(file, generated, storage));
      print("generated and written: %.1f s, %d bytes", seconds, Files.size(file));
    }
    InMemoryVectors queries = generated.queries(QUERIES);
    List<Hits> exact = exact(file, queries);
    for (String threads : args[4].split(",")) {
      graph(file, Integer.parseInt(threads), queries, exact);
    }
    print("peak resident set: %d MiB", ProcessMemory.peak() >> 20);
  }

  private static List<Hits> exact(Path file, InMemoryVectors queries) {
    List<Hits> exact = new ArrayList<>();
    print("opened: %.3f s", seconds(() -> StoredVectors.open(file).close()));
    try (StoredVectors vectors = StoredVectors.open(file)) {
      print("checked: %.1f s", seconds(vectors::checkAll));
      try (ExactSearch search =
          new ExactSearch(vectors, Runtime.getRuntime().availableProcessors())) {
        exact.addAll(search.search(queries, K));
        print(
            "exact search, %d queries at once: %.1f s",
            QUERIES, seconds(() -> search.search(queries, K)));
      }
      if (vectors.count() <= 200_000) {
        print("intrinsic dimension %.1f", intrinsicDimension(vectors));
      }
    }
    return exact;
  }

  private static void graph(Path file, int threads, InMemoryVectors queries, List<Hits> exact)
      throws IOException {
    HnswOptions options = HnswOptions.DEFAULT;
    Path folder = file.resolveSibling(file.getFileName() + ".m16-ef200.hnsw");
    TemporaryPath.delete(folder);
    try (StoredVectors vectors = StoredVectors.open(file)) {
      double seconds =
          seconds(() -> HnswIndex.open(vectors, options, threads, Scale::print).close());
      print("graphs built by %d threads: %.1f s, %d bytes", threads, seconds, bytes(folder));
    }
    List<Query> asked = new ArrayList<>();
    queries.forEachBlock(
        1,
        (first, rows, block) -> {
          float[] vector = new float[queries.dimension()];
          block.get(vector);
          asked.add(Query.of(vector));
        });
    try (StoredVectors vectors = StoredVectors.open(file)) {
      print("opened with graphs: %.3f s", seconds(() -> HnswIndex.open(vectors, options).close()));
      for (int ef : new int[] {200, 400, 800}) {
        try (HnswIndex index =
            HnswIndex.open(vectors, new HnswOptions(16, 200, ef), threads, Scale::print)) {
          double recall = index.recall(asked, exact, K);
          double[] millis =
              asked.stream()
                  .mapToDouble(query -> 1e3 * seconds(() -> index.search(query.vector().get(), K)))
                  .sorted()
                  .toArray();
          double all = seconds(() -> index.search(asked, K));
          print(
              "efSearch %d: recall@%d %.4f; one query on one thread p50 %.2f ms, p99 %.2f ms;"
                  + " %.0f queries/s on %d threads",
              ef,
              K,
              recall,
              millis[QUERIES / 2],
              millis[QUERIES * 99 / 100],
              QUERIES / all,
              threads);
        }
      }
    }
  }

  private static long bytes(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.mapToLong(Scale::size).sum();
    }
  }

  private static long size(Path file) {
    try {
      return Files.size(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** TwoNN of a thousand of the vectors among all of them. */
  private static double intrinsicDimension(StoredVectors vectors) {
    int step = (int) Math.max(1, vectors.count() / QUERIES);
    List<float[]> sample = new ArrayList<>();
    vectors.forEachBlock(
        step,
        (first, rows, block) -> {
          float[] vector = new float[vectors.dimension()];
          block.get(vector);
          sample.add(vector);
        });
    double sum = 0;
    int used = 0;
    try (ExactSearch search =
        new ExactSearch(vectors, Runtime.getRuntime().availableProcessors())) {
      List<Hits> hits = search.search(new InMemoryVectors(sample), 3);
      for (int i = 0; i < sample.size(); i++) {
        double self = Similarity.dot(sample.get(i), sample.get(i));
        double nearest = distance(self, hits.get(i), 1);
        double next = distance(self, hits.get(i), 2);
        if (nearest > 0 && next > nearest) {
          sum += Math.log(next / nearest);
          used++;
        }
      }
    }
    return used / sum;
  }

  /** Of vectors of length 1; the nearest of all is the vector itself. */
  private static double distance(double self, Hits hits, int rank) {
    return Math.sqrt(Math.max(0, 2 * self - 2 * hits.scores().get(rank)));
  }

  private static double seconds(Runnable work) {
    long begin = System.nanoTime();
    work.run();
    return (System.nanoTime() - begin) / 1e9;
  }

  private static void print(String format, Object... values) {
    System.out.println(String.format(Locale.ROOT, format, values));
  }

  private static void print(String line) {
    System.out.println(line);
  }

  /** Vectors that are made while they are read: the same each time. */
  private static final class Generated implements VectorSet {
    private static final int LATENT = 32;
    private static final int HIDDEN = 64;
    private static final int CENTRES = 1000;
    private static final double NOISE = 0.1;

    private final long count;
    private final int dimension;
    private final long seed;
    private final float[][] centres;
    private final float[][] inner;
    private final float[][] outer;

    Generated(long count, int dimension, long seed) {
      this.count = count;
      this.dimension = dimension;
      this.seed = seed;
      Random random = new Random(4711);
      centres = matrix(random, CENTRES, LATENT, 1);
      inner = matrix(random, HIDDEN, LATENT, 1 / Math.sqrt(LATENT));
      outer = matrix(random, dimension, HIDDEN, 1 / Math.sqrt(HIDDEN));
    }

    private static float[][] matrix(Random random, int rows, int columns, double scale) {
      float[][] matrix = new float[rows][columns];
      for (float[] row : matrix) {
        for (int i = 0; i < columns; i++) {
          row[i] = (float) (scale * random.nextGaussian());
        }
      }
      return matrix;
    }

    InMemoryVectors queries(int number) {
      List<float[]> queries = new ArrayList<>();
      Random random = new Random(-seed);
      for (int i = 0; i < number; i++) {
        queries.add(vector(random));
      }
      return new InMemoryVectors(queries);
    }

    private float[] vector(Random random) {
      float[] point = centres[random.nextInt(CENTRES)].clone();
      for (int i = 0; i < LATENT; i++) {
        point[i] += (float) (0.7 * random.nextGaussian());
      }
      float[] hidden = product(inner, point);
      for (int i = 0; i < HIDDEN; i++) {
        hidden[i] = (float) Math.tanh(hidden[i]);
      }
      float[] vector = product(outer, hidden);
      double length = Math.sqrt(Similarity.dot(vector, vector));
      for (int i = 0; i < dimension; i++) {
        double noise = NOISE * length / Math.sqrt(dimension) * random.nextGaussian();
        vector[i] += (float) noise;
      }
      length = Math.sqrt(Similarity.dot(vector, vector));
      for (int i = 0; i < dimension; i++) {
        vector[i] /= (float) length;
      }
      return vector;
    }

    private static float[] product(float[][] matrix, float[] vector) {
      float[] product = new float[matrix.length];
      for (int i = 0; i < matrix.length; i++) {
        float sum = 0;
        for (int j = 0; j < vector.length; j++) {
          sum += matrix[i][j] * vector[j];
        }
        product[i] = sum;
      }
      return product;
    }

    @Override
    public long count() {
      return count;
    }

    @Override
    public int dimension() {
      return dimension;
    }

    @Override
    public void forEachBlock(int rows, BlockReceiver receiver) {
      Random random = new Random(seed);
      try (FloatPointer memory = new FloatPointer((long) rows * dimension)) {
        FloatBuffer block = memory.asBuffer();
        for (long first = 0; first < count; first += rows) {
          int here = (int) Math.min(rows, count - first);
          block.clear();
          for (int i = 0; i < here; i++) {
            block.put(vector(random));
          }
          receiver.accept(first, here, block.flip().asReadOnlyBuffer());
        }
      }
    }
  }
}
