package io.llara.retrieval;

import com.google.common.math.IntMath;
import com.google.common.math.Quantiles;
import io.llara.LlaraException;
import io.llara.Similarity;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.math.RoundingMode;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Finds, for each of many queries, the vectors with the largest inner products among all of a set.
 * Of vectors of length 1 these are the nearest by cosine; {@link UnitVectors} makes them so.
 *
 * <p>A score is the inner product of two float32 vectors in float64, summed in one fixed order, and
 * of equal scores the smaller index comes first: what is found is defined by the vectors alone. It
 * is the same, to the last bit, in every run, on every machine, with any number of threads and any
 * sizes of blocks.
 *
 * <p>How it works: a block of passages is cut into tiles. A thread multiplies the queries with a
 * tile, a thousand at a time, in float32, and picks each query's candidates while the products are
 * in its cache. When a block ends, the candidates are scored again in float64, and the best are
 * kept. A float32 product of two vectors of {@code d} values is off by at most {@code γ ‖x‖ ‖y‖},
 * with {@code γ = d u / (1 − d u)} and {@code u = 2⁻²⁴}, in whatever order it is summed (Higham,
 * Accuracy and Stability of Numerical Algorithms, section 3.1). A passage is a candidate unless its
 * product is farther than that below the k-th best so far, so that none of the best is lost,
 * whichever thread multiplies what when.
 *
 * <p>The vectors are read block by block, so that they may lie on disk, once for as many queries as
 * a quarter of the heap has room for: 14,000 with a hundred hits each on a heap of 512 MB. The set
 * must live as long as the search; closing leaves it open.
 */
public final class ExactSearch implements Searcher {
  /** How many queries are multiplied with a tile, and its passages: enough for full speed. */
  private static final int QUERIES = 1024;

  private static final int TILE = 1024;

  /** So many queries at most are scored again at once: their vectors are in float64 then. */
  private static final int RESCORED = 256;

  /** Fewer passages are no tile of their own, even if threads are idle. */
  private static final int LEAST_TILE = 128;

  /** About how many bytes of heap a query takes, and each of its hits. */
  private static final int QUERY_BYTES = 2560;

  private static final int HIT_BYTES = 72;

  /** The fewer blocks, the fewer second looks; but not all sets are views of files. */
  private static final long BLOCK_BYTES = 512L << 20;

  /** Longer vectors are refused, so that no sum leaves the range of float32. */
  static final double MOST_LENGTH = 1e18;

  /** The squares of smaller values vanish in float32. */
  private static final double LEAST_VALUE = 0x1p-60;

  private final VectorSet passages;
  private final int dimension;
  private final long blockBytes;
  private final SearchThreads threads;

  /** How far a float32 product is off at most, relative to both lengths, which are rounded too. */
  private final double error;

  /** Takes what was found, in the order of the queries, on the thread that called the search. */
  @FunctionalInterface
  public interface HitsReceiver {
    /**
     * Takes what was found for one query.
     *
     * @param query the query's index
     * @param hits the best vectors, best first
     */
    void accept(long query, Hits hits);
  }

  /**
   * Creates a search over a set of vectors.
   *
   * @param threads how many threads compute
   */
  public ExactSearch(VectorSet passages, int threads) {
    this(passages, threads, BLOCK_BYTES);
  }

  /** Creates a search that reads blocks of another size. */
  ExactSearch(VectorSet passages, int threads, long blockBytes) {
    Libtorch.load();
    this.passages = passages;
    this.dimension = passages.dimension();
    this.blockBytes = blockBytes;
    this.threads = new SearchThreads(threads, () -> Libtorch.useThreads(1));
    this.error = 1.05 * (dimension + 8) * 0x1p-24;
  }

  /** Returns the best vectors for each query; the queries need vectors. */
  @Override
  public List<Hits> search(List<Query> queries, int k) {
    return search(new InMemoryVectors(queries.stream().map(Query::requireVector).toList()), k);
  }

  /**
   * Returns the best vectors for each query, in the order of the queries.
   *
   * @param queries the vectors of the queries
   * @param k how many to find for each query; all if there are fewer
   * @throws IllegalArgumentException if the dimensions differ or {@code k} is not positive
   * @throws LlaraException if a vector is not finite or longer than 1e18 (the message names it), or
   *     this thread is interrupted
   * @throws IllegalStateException if this is closed
   */
  public List<Hits> search(VectorSet queries, int k) {
    List<Hits> all = new ArrayList<>();
    search(queries, k, (query, hits) -> all.add(hits));
    return all;
  }

  /**
   * Hands over the best vectors for each query as soon as they are known; for any number of
   * queries.
   *
   * @throws RuntimeException as {@link #search(VectorSet, int)}, or what the receiver throws
   */
  public void search(VectorSet queries, int k, HitsReceiver receiver) {
    Hits.requireCount(k);
    if (queries.count() == 0) {
      return;
    }
    if (passages.count() == 0) {
      for (long i = 0; i < queries.count(); i++) {
        receiver.accept(i, Hits.NONE);
      }
      return;
    }
    if (queries.dimension() != dimension) {
      throw new IllegalArgumentException(
          "the queries have the dimension %d, the passages %d"
              .formatted(queries.dimension(), dimension));
    }
    int limit = (int) Math.min(k, passages.count());
    int blockRows =
        (int)
            Math.min(Math.max(1, blockBytes / ((long) dimension * Float.BYTES)), passages.count());
    queries.forEachBlock(
        atOnce(limit),
        (first, count, vectors) -> {
          try (Pass pass = new Pass(first, count, vectors, limit)) {
            passages.forEachBlock(blockRows, pass::look);
            for (int i = 0; i < count; i++) {
              receiver.accept(first + i, pass.rankings[i].best.drain());
            }
          }
        });
  }

  /** Returns for how many queries the vectors are read once. */
  private int atOnce(int limit) {
    long room = Runtime.getRuntime().maxMemory() / 4;
    long fitting = room / (QUERY_BYTES + (long) HIT_BYTES * limit);
    // Their vectors are one block.
    long largest = Integer.MAX_VALUE / ((long) dimension * Float.BYTES);
    return (int) Math.max(1, Math.min(fitting, largest));
  }

  @Override
  public void close() {
    threads.close();
  }

  /** Passages in memory. */
  private record Block(
      long first, int rows, int tileRows, FloatBuffer vectors, FloatPointer pointer) {
    int tiles() {
      return IntMath.divide(rows, tileRows, RoundingMode.CEILING);
    }

    int rows(int tile) {
      return Math.min(tileRows, rows - tile * tileRows);
    }
  }

  /** What a thread works with. */
  private final class Scratch implements AutoCloseable {
    final FloatPointer products;
    final FloatBuffer productsBuffer;
    final float[] row = new float[TILE];
    final int[] picked = new int[TILE];
    final float[] vector = new float[dimension];

    Scratch(int queries) {
      products = new FloatPointer((long) queries * TILE);
      productsBuffer = products.asBuffer();
    }

    @Override
    public void close() {
      products.close();
    }
  }

  /** Some queries on their way through all passages. */
  private final class Pass implements AutoCloseable {
    private final long first;
    private final FloatBuffer queries;
    private final FloatPointer queryMatrix;
    private final int limit;
    private final Ranking[] rankings;
    private final Scratch[] scratches = new Scratch[threads.count()];

    Pass(long first, int count, FloatBuffer vectors, int limit) {
      this.first = first;
      this.queries = vectors;
      this.limit = limit;
      this.rankings = new Ranking[count];
      float[] vector = new float[dimension];
      for (int i = 0; i < count; i++) {
        vectors.get(i * dimension, vector);
        double length = Math.sqrt(Similarity.dot(vector, vector));
        if (!(length <= MOST_LENGTH)) {
          throw unusable("queries", first + i, vector);
        }
        rankings[i] = new Ranking(i, length);
      }
      this.queryMatrix = new FloatPointer(vectors);
      Arrays.setAll(scratches, thread -> new Scratch(Math.min(count, QUERIES)));
    }

    /** Looks at the next passages. */
    void look(long begin, int rows, FloatBuffer vectors) {
      if (Thread.currentThread().isInterrupted()) {
        throw new LlaraException(
            "interrupted: queries from %d on had looked at %d passages".formatted(first, begin));
      }
      // Two tiles for each thread at least, if there are so many passages.
      int share = IntMath.divide(rows, 2 * threads.count(), RoundingMode.CEILING);
      int tileRows = Math.min(TILE, Math.max(LEAST_TILE, share));
      try (FloatPointer memory = new FloatPointer(vectors)) {
        Block block = new Block(begin, rows, tileRows, vectors, memory);
        threads.run(block.tiles(), (thread, tile) -> multiply(block, tile, scratches[thread]));
        int most = IntMath.divide(rankings.length, RESCORED, RoundingMode.CEILING);
        int parts = Math.min(rankings.length, Math.max(most, 2 * threads.count()));
        threads.run(
            parts,
            (thread, part) ->
                rescore(
                    block,
                    (int) ((long) rankings.length * part / parts),
                    (int) ((long) rankings.length * (part + 1) / parts),
                    scratches[thread]));
      }
    }

    private void multiply(Block block, int tile, Scratch scratch) {
      int rows = block.rows(tile);
      try (TensorScope scope = new TensorScope()) {
        Tensor vectors = matrix(block.pointer(), (long) tile * block.tileRows() * dimension, rows);
        double longest = longest(block, tile, vectors);
        for (int begin = 0; begin < rankings.length; begin += QUERIES) {
          int count = Math.min(QUERIES, rankings.length - begin);
          torch.mm_out(
              torch.from_blob(scratch.products, count, rows),
              matrix(queryMatrix, (long) begin * dimension, count),
              vectors.t());
          for (int i = 0; i < count; i++) {
            rankings[begin + i].pick(block, tile, longest, scratch);
          }
        }
      }
    }

    private Tensor matrix(FloatPointer memory, long offset, int rows) {
      // Not a position, which would be taken for bytes.
      return torch.from_blob(memory.getPointer(offset), rows, dimension);
    }

    /** Returns the length of a tile's longest vector, or a little more. */
    private double longest(Block block, int tile, Tensor vectors) {
      float[] lengths =
          Tensors.toFloats(
              torch.linalg_vector_norm(
                  vectors, new Scalar(2.0), new long[] {1}, false, new ScalarTypeOptional()));
      double longest = LEAST_VALUE * Math.sqrt(dimension);
      for (int i = 0; i < lengths.length; i++) {
        if (!(lengths[i] <= MOST_LENGTH)) {
          int row = tile * block.tileRows() + i;
          float[] vector = new float[dimension];
          block.vectors().get(row * dimension, vector);
          throw unusable("passages", block.first() + row, vector);
        }
        longest = Math.max(longest, lengths[i]);
      }
      return longest;
    }

    /**
     * Scores the candidates of some queries again and keeps the best of them, in the order of the
     * passages: memory is read forwards, and a passage once for all of these queries.
     */
    private void rescore(Block block, int begin, int end, Scratch scratch) {
      int count = 0;
      for (int i = begin; i < end; i++) {
        rankings[i].sift();
        count += rankings[i].candidates;
      }
      long[] pairs = new long[count];
      double[][] wide = new double[end - begin][];
      for (int i = begin; i < end; i++) {
        queries.get(i * dimension, scratch.vector);
        wide[i - begin] = InnerProduct.widened(scratch.vector);
        for (int j = 0; j < rankings[i].candidates; j++) {
          pairs[--count] = (long) rankings[i].places[j] << Integer.SIZE | i;
        }
      }
      Arrays.sort(pairs);
      int read = -1;
      for (long pair : pairs) {
        int place = (int) (pair >>> Integer.SIZE);
        int query = (int) pair;
        if (place != read) {
          block.vectors().get(place * dimension, scratch.vector);
          read = place;
        }
        double score = InnerProduct.of(wide[query - begin], scratch.vector);
        rankings[query].best.offer(block.first() + place, score);
      }
      for (int i = begin; i < end; i++) {
        rankings[i].settle();
      }
    }

    @Override
    public void close() {
      queryMatrix.close();
      for (Scratch scratch : scratches) {
        scratch.close();
      }
    }

    /** One query: its best so far, and its candidates among the passages of the block. */
    private final class Ranking {
      final int query;
      final double length;
      final TopHits best = new TopHits(limit);

      /** Candidates: their places in the block and their float32 products. */
      final int[] places = new int[2 * limit + 256];

      final float[] products = new float[places.length];
      int candidates;

      /** How far any of these products is off, at most; 0 without candidates. */
      double margin;

      /** The last of the best will have this score at least. Read by all threads at any time. */
      volatile double floor = Double.NEGATIVE_INFINITY;

      Ranking(int query, double length) {
        this.query = query;
        this.length = length;
      }

      /** Picks candidates of a tile by their products with this query. */
      void pick(Block block, int tile, double longest, Scratch scratch) {
        int rows = block.rows(tile);
        double tileMargin = error * length * longest + dimension * (double) Float.MIN_NORMAL;
        float least = Math.nextDown((float) (floor - tileMargin));
        scratch.productsBuffer.get(query % QUERIES * rows, scratch.row, 0, rows);
        int count = 0;
        for (int i = 0; i < rows; i++) {
          if (scratch.row[i] >= least) {
            scratch.picked[count++] = i;
          }
        }
        if (count > 0) {
          add(block, tile, tileMargin, count, scratch);
        }
      }

      private synchronized void add(
          Block block, int tile, double tileMargin, int count, Scratch scratch) {
        for (int i = 0; i < count; i++) {
          float product = scratch.row[scratch.picked[i]];
          if (product + tileMargin >= floor) {
            if (candidates == places.length) {
              sift();
              if (candidates > places.length - places.length / 4) {
                // Too many are too close to each other to tell them apart without a second look.
                rescore(block, query, query + 1, scratch);
              }
            }
            // Here, not once for the tile: after a second look there is no margin left.
            margin = Math.max(margin, tileMargin);
            places[candidates] = tile * block.tileRows() + scratch.picked[i];
            products[candidates] = product;
            candidates++;
          }
        }
      }

      /** Drops candidates that cannot be among the best, and raises the floor. */
      void sift() {
        if (candidates <= limit) {
          return;
        }
        double[] all = new double[candidates];
        for (int i = 0; i < candidates; i++) {
          all[i] = products[i];
        }
        double lastOfBest =
            Quantiles.scale(candidates - 1).index(candidates - limit).computeInPlace(all);
        double least = Math.max(floor, lastOfBest - margin);
        int kept = 0;
        for (int i = 0; i < candidates; i++) {
          if (products[i] + margin >= least) {
            places[kept] = places[i];
            products[kept] = products[i];
            kept++;
          }
        }
        candidates = kept;
        floor = least;
      }

      /** Forgets the candidates, which were scored again. */
      void settle() {
        candidates = 0;
        margin = 0;
        floor = Math.max(floor, best.floor());
      }
    }
  }

  static LlaraException unusable(String set, long index, float[] vector) {
    for (int i = 0; i < vector.length; i++) {
      if (!Float.isFinite(vector[i])) {
        return new LlaraException(
            "vector %d of the %s: value %d is %s; expected finite ones"
                .formatted(index, set, i, vector[i]));
      }
    }
    return new LlaraException(
        "vector %d of the %s: it is %s long; expected at most %s"
            .formatted(index, set, Math.sqrt(Similarity.dot(vector, vector)), MOST_LENGTH));
  }
}
