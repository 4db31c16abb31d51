package io.llara.retrieval;

import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.tensor.Libtorch;
import io.llara.tensor.StoredTensors;
import java.nio.file.Path;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Tensor;

/**
 * Vectors in a file of a {@link VectorCache}, mapped into memory: blocks are views of the file, of
 * any size, and take no heap. Closing ends the mapping once nobody reads; closing twice is
 * harmless. Thread-safe.
 *
 * <p>The file may be renamed over or, except on Windows, deleted meanwhile, but must not shrink.
 */
public final class StoredVectors implements VectorSet, AutoCloseable {
  private final Path file;
  private final long count;
  private final int dimension;
  private final Tensor vectors;

  /** Readers hold it for reading: memory that is read stays mapped. */
  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();

  private boolean closed;

  /** Maps what lies from an offset on. */
  StoredVectors(Path file, long offset, long count, int dimension) {
    this.file = file;
    this.count = count;
    this.dimension = dimension;
    Libtorch.load();
    try (StoredTensors tensors = new StoredTensors()) {
      vectors =
          tensors.map(
              new TensorEntry(
                  "vectors",
                  StorageType.F32,
                  new long[] {count, dimension},
                  file,
                  offset,
                  count * dimension * Float.BYTES));
    }
  }

  @Override
  public long count() {
    return count;
  }

  @Override
  public int dimension() {
    return dimension;
  }

  /**
   * Hands out views of the file.
   *
   * @throws IllegalStateException if the set is closed
   */
  @Override
  public void forEachBlock(int rows, BlockReceiver receiver) {
    int most = Blocks.rows(rows, this);
    lock.readLock().lock();
    try {
      if (closed) {
        throw new IllegalStateException("the vectors of " + file + " are closed");
      }
      if (most == 0) {
        return; // Memory without elements has no address.
      }
      try (FloatPointer data = vectors.data_ptr_float()) {
        for (long first = 0; first < count; first += most) {
          int here = (int) Math.min(most, count - first);
          data.position(first * dimension).limit((first + here) * dimension);
          receiver.accept(first, here, data.asBuffer().asReadOnlyBuffer());
        }
      }
    } finally {
      lock.readLock().unlock();
    }
  }

  /**
   * Ends the mapping.
   *
   * @throws IllegalStateException if this thread is reading the set
   */
  @Override
  public void close() {
    if (lock.getReadHoldCount() > 0) {
      throw new IllegalStateException("the vectors of " + file + " are closed while they are read");
    }
    lock.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        vectors.close();
      }
    } finally {
      lock.writeLock().unlock();
    }
  }
}
