package io.llara.retrieval;

import com.google.common.math.Quantiles;
import io.llara.LlaraException;
import io.llara.Similarity;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.nio.FloatBuffer;
import java.util.Arrays;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Some queries on their way through all passages, and the best of each so far.
 *
 * <p>A block of passages is cut into tiles. A lane multiplies all queries with a tile, in float32,
 * and picks each query's candidates while the products are in its cache. When a block ends, what is
 * left of the candidates is scored again, as {@link InnerProduct} defines a score.
 *
 * <p>A float32 product of two vectors of {@code d} values is off by at most {@code γ ‖x‖ ‖y‖}, with
 * {@code γ = d u / (1 − d u)} and {@code u = 2⁻²⁴}, in whatever order it is summed (Higham,
 * Accuracy and Stability of Numerical Algorithms, section 3.1). With that margin a vector is a
 * candidate or is none of the best: which lane picked what when makes no difference in the end.
 */
final class QueryBlock implements AutoCloseable {
  /** How many queries are multiplied with a tile, and its passages: enough for full speed. */
  private static final int QUERIES = 1024;

  private static final int TILE = 1024;

  /** Fewer passages are no tile of their own, even if lanes are idle. */
  private static final int LEAST_TILE = 128;

  /** How many hits are kept at once, of all queries. */
  private static final int MOST_HITS = 1 << 22;

  /** Longer vectors are refused, so that no sum leaves the range of float32. */
  private static final double MOST_LENGTH = 1e18;

  /** The squares of smaller values vanish in float32. */
  private static final double LEAST_VALUE = 0x1p-60;

  private final long first;
  private final int dimension;
  private final int limit;
  private final FloatBuffer queries;
  private final Query[] states;
  private final Lane[] lanes;
  private final FloatPointer pointer;

  /** How far a float32 product is off at most, relative to both lengths, which are rounded too. */
  private final double error;

  /** Passages in memory. */
  private record Passages(
      long first, int rows, int tileRows, FloatBuffer vectors, FloatPointer pointer) {
    int tiles() {
      return (rows + tileRows - 1) / tileRows;
    }

    int rows(int tile) {
      return Math.min(tileRows, rows - tile * tileRows);
    }
  }

  /** What a lane works with. */
  private final class Lane implements AutoCloseable {
    final FloatPointer products = new FloatPointer((long) states.length * TILE);
    final FloatBuffer productsBuffer = products.asBuffer();
    final float[] row = new float[TILE];
    final int[] picked = new int[TILE];
    final float[] vector = new float[dimension];

    @Override
    public void close() {
      products.close();
    }
  }

  /** One query: its best so far, and its candidates among the passages of the block. */
  private final class Query {
    final int number;
    final double length;
    final TopHits best = new TopHits(limit);

    /** Candidates: their places in the block and their float32 products. */
    final int[] places = new int[2 * limit + 256];

    final float[] products = new float[places.length];
    int candidates;

    /** How far any of these products is off, at most; 0 without candidates. */
    double margin;

    /** The last of the best will have this score at least. Read by lanes at any time. */
    volatile double floor = Double.NEGATIVE_INFINITY;

    Query(int number, double length) {
      this.number = number;
      this.length = length;
    }

    /** Looks at a tile's products with this query. */
    void look(Passages passages, int tile, double longest, Lane lane) {
      int rows = passages.rows(tile);
      double tileMargin = error * length * longest + dimension * (double) Float.MIN_NORMAL;
      float least = below(floor - tileMargin);
      lane.productsBuffer.get(number * rows, lane.row, 0, rows);
      int count = 0;
      for (int i = 0; i < rows; i++) {
        if (lane.row[i] >= least) {
          lane.picked[count++] = i;
        }
      }
      if (count > 0) {
        add(passages, tile, tileMargin, count, lane);
      }
    }

    private synchronized void add(
        Passages passages, int tile, double tileMargin, int count, Lane lane) {
      for (int i = 0; i < count; i++) {
        float product = lane.row[lane.picked[i]];
        if (product + tileMargin >= floor) {
          if (candidates == places.length) {
            sift();
            if (candidates > places.length - places.length / 4) {
              // Too many are too close to each other to be told apart without a second look.
              settle(passages, lane);
            }
          }
          // Here, not once for the tile: when all are settled there is no margin left.
          margin = Math.max(margin, tileMargin);
          places[candidates] = tile * passages.tileRows() + lane.picked[i];
          products[candidates] = product;
          candidates++;
        }
      }
    }

    /** Drops candidates that are none of the best. */
    private void sift() {
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

    /** Scores the candidates again and keeps the best of them. */
    private void settle(Passages passages, Lane lane) {
      double[] wide = widened(lane);
      for (int i = 0; i < candidates; i++) {
        passages.vectors().get(places[i] * dimension, lane.vector);
        best.offer(passages.first() + places[i], InnerProduct.of(wide, lane.vector));
      }
      settled();
    }

    private double[] widened(Lane lane) {
      queries.get(number * dimension, lane.vector);
      return InnerProduct.widened(lane.vector);
    }

    private void settled() {
      candidates = 0;
      margin = 0;
      if (best.isFull()) {
        floor = Math.max(floor, best.worst());
      }
    }
  }

  /**
   * Creates a block of queries.
   *
   * @param first the index of its first query
   * @param vectors their vectors, which must live as long as this
   * @param limit how many passages to keep for each query
   * @param laneCount how many lanes there are
   */
  QueryBlock(long first, int rows, FloatBuffer vectors, int dimension, int limit, int laneCount) {
    this.first = first;
    this.dimension = dimension;
    this.limit = limit;
    this.queries = vectors;
    this.error = 1.05 * (dimension + 8) * 0x1p-24;
    this.states = new Query[rows];
    float[] vector = new float[dimension];
    for (int i = 0; i < rows; i++) {
      vectors.get(i * dimension, vector);
      double length = Math.sqrt(Similarity.dot(vector, vector));
      if (!(length <= MOST_LENGTH)) {
        throw unusable("queries", first + i, vector);
      }
      states[i] = new Query(i, length);
    }
    this.pointer = new FloatPointer(vectors);
    this.lanes = new Lane[laneCount];
    for (int i = 0; i < laneCount; i++) {
      lanes[i] = new Lane();
    }
  }

  /** Returns how many queries make a block. */
  static int queriesAtOnce(int limit) {
    return Math.max(1, Math.min(QUERIES, MOST_HITS / limit));
  }

  /** Looks at the next passages. */
  void offer(long begin, int rows, FloatBuffer vectors, SearchLanes threads) {
    if (Thread.currentThread().isInterrupted()) {
      throw new LlaraException(
          "interrupted: queries from %d on had looked at %d passages".formatted(first, begin));
    }
    // Two tiles for each lane at least, if there are so many passages.
    int share = (rows + 2 * lanes.length - 1) / (2 * lanes.length);
    int tileRows = Math.min(TILE, Math.max(LEAST_TILE, share));
    try (FloatPointer memory = new FloatPointer(vectors)) {
      Passages passages = new Passages(begin, rows, tileRows, vectors, memory);
      threads.run(passages.tiles(), (lane, tile) -> multiply(passages, tile, lanes[lane]));
      int pieces = Math.min(states.length, 2 * lanes.length);
      threads.run(
          pieces,
          (lane, piece) ->
              settle(
                  passages,
                  (int) ((long) states.length * piece / pieces),
                  (int) ((long) states.length * (piece + 1) / pieces),
                  lanes[lane]));
    }
  }

  /**
   * Scores the candidates of some queries again and keeps the best of them, in the order of the
   * passages: memory is read forwards, and a passage once for all of these queries.
   */
  private void settle(Passages passages, int begin, int end, Lane lane) {
    int count = 0;
    for (int i = begin; i < end; i++) {
      states[i].sift();
      count += states[i].candidates;
    }
    long[] pairs = new long[count];
    double[][] wide = new double[end - begin][];
    for (int i = begin; i < end; i++) {
      Query query = states[i];
      wide[i - begin] = query.widened(lane);
      for (int j = 0; j < query.candidates; j++) {
        pairs[--count] = (long) query.places[j] << Integer.SIZE | i;
      }
    }
    Arrays.sort(pairs);
    int read = -1;
    for (long pair : pairs) {
      int place = (int) (pair >>> Integer.SIZE);
      int number = (int) pair;
      if (place != read) {
        passages.vectors().get(place * dimension, lane.vector);
        read = place;
      }
      double score = InnerProduct.of(wide[number - begin], lane.vector);
      states[number].best.offer(passages.first() + place, score);
    }
    for (int i = begin; i < end; i++) {
      states[i].settled();
    }
  }

  private void multiply(Passages passages, int tile, Lane lane) {
    int rows = passages.rows(tile);
    double longest;
    try (TensorScope scope = new TensorScope()) {
      long offset = (long) tile * passages.tileRows() * dimension;
      Tensor vectors = matrix(passages.pointer(), offset, rows, dimension);
      longest = longest(passages, tile, vectors);
      torch.mm_out(
          matrix(lane.products, 0, states.length, rows),
          matrix(pointer, 0, states.length, dimension),
          vectors.t());
    }
    for (Query query : states) {
      query.look(passages, tile, longest, lane);
    }
  }

  private static Tensor matrix(FloatPointer memory, long offset, int rows, int columns) {
    // Not a position, which would be taken for bytes.
    return torch.from_blob(memory.getPointer(offset), rows, columns);
  }

  /** Returns the length of a tile's longest vector, or a little more. */
  private double longest(Passages passages, int tile, Tensor vectors) {
    float[] lengths =
        Tensors.toFloats(
            torch.linalg_vector_norm(
                vectors, new Scalar(2.0), new long[] {1}, false, new ScalarTypeOptional()));
    double longest = LEAST_VALUE * Math.sqrt(dimension);
    for (int i = 0; i < lengths.length; i++) {
      if (!(lengths[i] <= MOST_LENGTH)) {
        int row = tile * passages.tileRows() + i;
        float[] vector = new float[dimension];
        passages.vectors().get(row * dimension, vector);
        throw unusable("passages", passages.first() + row, vector);
      }
      longest = Math.max(longest, lengths[i]);
    }
    return longest;
  }

  private static LlaraException unusable(String set, long index, float[] vector) {
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

  /** Returns a float32 that is not above a number. */
  private static float below(double value) {
    return Math.nextDown((float) value);
  }

  /** Returns what was found for a query, best first. */
  Hits drain(int query) {
    return states[query].best.drain();
  }

  @Override
  public void close() {
    pointer.close();
    for (Lane lane : lanes) {
      lane.close();
    }
  }
}
