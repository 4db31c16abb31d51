package io.llara.train.retrieval;

import io.llara.LlaraException;
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
 * <p>A block of passages is cut into tiles. First each tile is multiplied with all queries; then
 * each query looks through its scores. The float32 score of two vectors of {@code d} values is off
 * by at most {@code γ ‖x‖ ‖y‖}, with {@code γ = d u / (1 − d u)} and {@code u = 2⁻²⁴}, in whatever
 * order it was summed (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). A
 * vector whose score is lower than the worst of the {@code k} best by more than that is none of
 * them. The others are few; their scores are computed again, as {@link InnerProduct} defines them.
 */
final class QueryBlock implements AutoCloseable {
  /** How many queries are multiplied with a tile, and the passages of a tile: enough for speed. */
  private static final int QUERIES = 1024;

  private static final int TILE = 1024;

  /** The fewest and the most tiles of a block; a lane has at least two if there can be so many. */
  private static final int LEAST_TILES = 8;

  private static final int MOST_TILES = 128;

  /** The most bytes of a block: not all sets are views of files. */
  private static final long MOST_BYTES = 512L << 20;

  /** How many hits are kept at once. */
  private static final int MOST_HITS = 1 << 22;

  /** How many queries look through their scores in a piece of work. */
  private static final int LOOKING = 16;

  /** Longer vectors are refused, so that no sum leaves the range of float32. */
  private static final double MOST_LENGTH = 1e18;

  /** The squares of smaller values vanish in float32. */
  private static final double LEAST_VALUE = 0x1p-60;

  private final long first;
  private final int dimension;
  private final int limit;
  private final FloatBuffer queries;
  private final double[] lengths;
  private final TopHits[] best;

  /** How far a float32 score is off at most, relative to both lengths, which are rounded too. */
  private final double error;

  private final FloatPointer queriesPointer;

  /** Tile after tile, each {@code [queries, passages of the tile]}. */
  private final FloatPointer scores;

  private final FloatBuffer scoresBuffer;

  /** Passages in memory. */
  private record Passages(long first, int rows, FloatBuffer vectors, FloatPointer pointer) {
    int tiles() {
      return (rows + TILE - 1) / TILE;
    }

    int rows(int tile) {
      return Math.min(TILE, rows - tile * TILE);
    }
  }

  /** What looking through scores needs again and again. */
  private final class Scratch {
    final float[] scores = new float[TILE];
    final float[] query = new float[dimension];
    final float[] passage = new float[dimension];
  }

  /**
   * Creates a block of queries.
   *
   * @param first the index of its first query
   * @param vectors their vectors, which must live as long as this
   * @param limit how many passages to keep for each query
   * @param passagesAtOnce how many passages are offered at a time, at most
   */
  QueryBlock(
      long first, int rows, FloatBuffer vectors, int dimension, int limit, int passagesAtOnce) {
    this.first = first;
    this.dimension = dimension;
    this.limit = limit;
    this.queries = vectors;
    this.lengths = new double[rows];
    this.best = new TopHits[rows];
    this.error = 1.05 * (dimension + 8) * 0x1p-24;
    float[] vector = new float[dimension];
    for (int i = 0; i < rows; i++) {
      vectors.get(i * dimension, vector);
      lengths[i] = Math.sqrt(InnerProduct.of(vector, vector));
      if (!(lengths[i] <= MOST_LENGTH)) {
        throw unusable("queries", first + i, vector);
      }
      best[i] = new TopHits(limit);
    }
    this.queriesPointer = new FloatPointer(vectors);
    this.scores = new FloatPointer((long) rows * passagesAtOnce);
    this.scoresBuffer = scores.asBuffer();
  }

  /** Returns how many queries make a block. */
  static int queriesAtOnce(int limit) {
    return Math.max(1, Math.min(QUERIES, MOST_HITS / limit));
  }

  /** Returns how many passages are to be offered at a time. */
  static int passagesAtOnce(int lanes, VectorSet passages) {
    long wanted = Math.max(LEAST_TILES, Math.min(MOST_TILES, 2L * lanes));
    long possible = Math.max(1, MOST_BYTES / ((long) TILE * passages.dimension() * Float.BYTES));
    return (int) Math.min(passages.count(), Math.min(wanted, possible) * TILE);
  }

  /** Looks at the next passages. */
  void offer(long begin, int rows, FloatBuffer vectors, SearchLanes lanes) {
    if (Thread.currentThread().isInterrupted()) {
      throw new LlaraException(
          "interrupted: queries from %d on had looked at %d passages".formatted(first, begin));
    }
    try (FloatPointer pointer = new FloatPointer(vectors)) {
      Passages passages = new Passages(begin, rows, vectors, pointer);
      double[] longest = new double[passages.tiles()];
      lanes.run(longest.length, tile -> longest[tile] = multiply(passages, tile));
      double most = Arrays.stream(longest).max().orElse(0);
      lanes.run(
          (best.length + LOOKING - 1) / LOOKING,
          piece -> {
            Scratch scratch = new Scratch();
            int end = Math.min(best.length, (piece + 1) * LOOKING);
            for (int query = piece * LOOKING; query < end; query++) {
              look(query, passages, most, scratch);
            }
          });
    }
  }

  /** Computes the scores of a tile and returns how long its longest vector is, at least nearly. */
  private double multiply(Passages passages, int tile) {
    int rows = passages.rows(tile);
    try (TensorScope scope = new TensorScope()) {
      Tensor vectors =
          matrix(passages.pointer(), (long) tile * TILE * dimension, rows, dimension);
      double longest = longest(passages, tile, vectors);
      Tensor products = matrix(scores, (long) tile * TILE * best.length, best.length, rows);
      torch.mm_out(
          products, matrix(queriesPointer, 0, best.length, dimension), vectors.t());
      return longest;
    }
  }

  private static Tensor matrix(FloatPointer memory, long offset, int rows, int columns) {
    return torch.from_blob(new FloatPointer(memory).position(offset), rows, columns);
  }

  private double longest(Passages passages, int tile, Tensor vectors) {
    float[] norms =
        Tensors.toFloats(
            torch.linalg_vector_norm(
                vectors, new Scalar(2.0), new long[] {1}, false, new ScalarTypeOptional()));
    double longest = LEAST_VALUE * Math.sqrt(dimension);
    for (int i = 0; i < norms.length; i++) {
      if (!(norms[i] <= MOST_LENGTH)) {
        int row = tile * TILE + i;
        float[] vector = new float[dimension];
        passages.vectors().get(row * dimension, vector);
        throw unusable("passages", passages.first() + row, vector);
      }
      longest = Math.max(longest, norms[i]);
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
        "vector %d of the %s: it is %.3g long; expected at most %.0e"
            .formatted(index, set, Math.sqrt(InnerProduct.of(vector, vector)), MOST_LENGTH));
  }

  /** Keeps the best passages of a block for one query. */
  private void look(int query, Passages passages, double longest, Scratch scratch) {
    TopHits hits = best[query];
    double margin = error * lengths[query] * longest + dimension * (double) Float.MIN_NORMAL;
    float least = Float.NEGATIVE_INFINITY;
    if (hits.isFull()) {
      least = below(hits.worst() - margin);
    } else if (passages.rows() > limit) {
      // Both it and the limit-th best of this block may be off.
      least = below(limitThScore(query, passages, scratch) - 2 * margin);
    }
    boolean queryRead = false;
    for (int tile = 0; tile < passages.tiles(); tile++) {
      int rows = readScores(query, passages, tile, scratch);
      for (int i = 0; i < rows; i++) {
        if (scratch.scores[i] >= least) {
          if (!queryRead) {
            queries.get(query * dimension, scratch.query);
            queryRead = true;
          }
          int row = tile * TILE + i;
          passages.vectors().get(row * dimension, scratch.passage);
          hits.offer(passages.first() + row, InnerProduct.of(scratch.query, scratch.passage));
          if (hits.isFull()) {
            least = Math.max(least, below(hits.worst() - margin));
          }
        }
      }
    }
  }

  /** Returns the lowest of the best float32 scores of a block that has more than enough. */
  private double limitThScore(int query, Passages passages, Scratch scratch) {
    TopHits highest = new TopHits(limit);
    for (int tile = 0; tile < passages.tiles(); tile++) {
      int rows = readScores(query, passages, tile, scratch);
      for (int i = 0; i < rows; i++) {
        highest.offer(i, scratch.scores[i]);
      }
    }
    return highest.worst();
  }

  private int readScores(int query, Passages passages, int tile, Scratch scratch) {
    int rows = passages.rows(tile);
    scoresBuffer.get(tile * TILE * best.length + query * rows, scratch.scores, 0, rows);
    return rows;
  }

  /** Returns a float32 that is not above a number. */
  private static float below(double value) {
    return Math.nextDown((float) value);
  }

  /** Returns what was found for a query, best first. */
  Hits drain(int query) {
    return best[query].drain();
  }

  @Override
  public void close() {
    queriesPointer.close();
    scores.close();
  }
}
