package io.llara.retrieval;

import io.llara.LlaraException;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

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

  private Optional<TemporaryPath> folder = Optional.empty();
  private boolean closed;

  /** Maps what lies from an offset on. */
  StoredVectors(Path file, long offset, long count, int dimension) {
    this.file = file;
    this.count = count;
    this.dimension = dimension;
    Libtorch.load();
    try (TensorFile tensors = new TensorFile(file)) {
      vectors = tensors.map(offset, ScalarType.Float, count, dimension);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  /** Returns these vectors, which take a folder with them when they are closed. */
  StoredVectors in(TemporaryPath temporary) {
    folder = Optional.of(temporary);
    return this;
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
   * Ends the mapping, and deletes the temporary folder if the file lies in one.
   *
   * @throws LlaraException if it cannot be deleted
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
        folder.ifPresent(TemporaryPath::close);
      }
    } finally {
      lock.writeLock().unlock();
    }
  }
}
