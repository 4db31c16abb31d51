package io.llara.retrieval;

import io.llara.LlaraException;
import org.apache.lucene.util.VectorUtil;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.openblas.global.openblas;

/**
 * Inner products of a query with stored vectors, in float32, in whatever order they are asked for.
 * For one thread, and only while the vectors are {@linkplain StoredVectors#reading read}.
 */
final class QueryProducts implements AutoCloseable {
  private final StoredVectors vectors;
  private final float[] query;
  private final float[] vector;
  private final boolean direct;
  private final FloatPointer queryMemory;

  /** Where the vectors lie; moved to one after another. */
  private final FloatPointer place;

  QueryProducts(StoredVectors vectors, float[] query) {
    this.vectors = vectors;
    this.query = query;
    this.vector = new float[query.length];
    this.direct = vectors.storage() == VectorStorage.FLOAT32;
    this.queryMemory = new FloatPointer(query);
    this.place = vectors.floats(0);
  }

  /**
   * Fails unless a query can be searched for.
   *
   * @throws IllegalArgumentException if its dimension is not that of the vectors, or {@code k} is
   *     not positive
   * @throws LlaraException if it is not finite
   */
  static void requireFitting(float[] query, int k, VectorSet vectors) {
    Hits.requireCount(k);
    if (query.length != vectors.dimension() && vectors.count() > 0) {
      throw new IllegalArgumentException(
          "the query has the dimension %d, the index %d"
              .formatted(query.length, vectors.dimension()));
    }
    for (int i = 0; i < query.length; i++) {
      if (!Float.isFinite(query[i])) {
        throw new LlaraException(
            "the query: value %d is %s; expected finite ones".formatted(i, query[i]));
      }
    }
  }

  /** Returns the product with a vector. */
  float of(long index) {
    if (direct) {
      vectors.check(index);
      return openblas.cblas_sdot(
          query.length, queryMemory, 1, place.position(index * query.length), 1);
    }
    vectors.read(index, vector);
    return VectorUtil.dotProduct(query, vector);
  }

  @Override
  public void close() {
    queryMemory.close();
  }
}
