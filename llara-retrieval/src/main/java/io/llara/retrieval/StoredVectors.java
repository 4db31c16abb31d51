package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import io.llara.LlaraException;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import io.llara.tensor.TensorScope;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Supplier;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Vectors in a file, mapped into memory: those of a collection ({@link CorpusVectors}) or your own
 * ({@link #write}). Of {@link VectorStorage#FLOAT32} blocks are views of the file, of any size, and
 * take no memory; of the others they are copies. Opening reads a header and checksums only; what is
 * read is checked when it is read first. The format is in docs/vector-files.md.
 *
 * <p>Closing ends the mapping once nobody reads; closing twice is harmless. Thread-safe. The file
 * may be renamed over or, except on Windows, deleted meanwhile, but must not shrink.
 */
public final class StoredVectors implements VectorSet, AutoCloseable {
  private static final int WRITTEN_ROWS = 1024;

  private final BlockFile file;
  private final VectorHeader header;
  private final int rowBytes;
  private Optional<TemporaryPath> folder = Optional.empty();

  private StoredVectors(BlockFile file) throws IOException {
    this.file = file;
    this.header = VectorHeader.of(file.header());
    this.rowBytes = header.rowBytes();
  }

  /**
   * Opens a file of vectors.
   *
   * @throws LlaraException if it cannot be read or is none, is cut short, or was made by another
   *     version
   */
  public static StoredVectors open(Path file) {
    try {
      return read(file);
    } catch (IOException e) {
      throw new LlaraException(
          "%s: the vectors cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  /** Opens a file, as {@link #open}, with an IOException that says what is wrong. */
  static StoredVectors read(Path path) throws IOException {
    BlockFile file = BlockFile.open(path, VectorHeader.MAGIC, VectorHeader.VERSION);
    try {
      return new StoredVectors(file);
    } catch (IOException | RuntimeException e) {
      file.close();
      throw e;
    }
  }

  /**
   * Writes vectors of your own into a file. A file of that name is replaced at once, or not at all.
   *
   * @throws LlaraException if it cannot be written, or the storage cannot hold a vector
   */
  public static void write(Path file, VectorSet vectors, VectorStorage storage) {
    write(
        file,
        vectors,
        new VectorHeader(
            VectorHeader.UNKNOWN,
            VectorHeader.UNKNOWN,
            storage,
            vectors.dimension(),
            vectors.count(),
            Shard.WHOLE));
  }

  /** Writes vectors as {@link #write(Path, VectorSet, VectorStorage)}. */
  static void write(Path file, VectorSet vectors, VectorHeader header) {
    try (VectorWriter writer = new VectorWriter(file, header)) {
      try {
        // Nobody knows whether what is there has anything to do with these.
        writer.truncate(0);
        float[] vector = new float[vectors.dimension()];
        vectors.forEachBlock(
            WRITTEN_ROWS,
            (first, rows, block) -> {
              for (int i = 0; i < rows; i++) {
                block.get(i * vector.length, vector);
                try {
                  writer.add(vector);
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              }
            });
        writer.commit();
      } finally {
        writer.discard();
      }
    } catch (UncheckedIOException e) {
      throw unwritten(file, requireNonNull(e.getCause()));
    } catch (IOException e) {
      throw unwritten(file, e);
    }
  }

  static LlaraException unwritten(Path file, IOException e) {
    return new LlaraException(
        "%s: the vectors cannot be written: %s".formatted(file, Messages.reason(e)), e);
  }

  /** Returns these vectors, which take a folder with them when they are closed. */
  StoredVectors in(TemporaryPath temporary) {
    folder = Optional.of(temporary);
    return this;
  }

  VectorHeader header() {
    return header;
  }

  /** Returns the file. */
  public Path file() {
    return file.path();
  }

  /** Returns how the vectors are stored. */
  public VectorStorage storage() {
    return header.storage();
  }

  /** Returns which part of a collection they are. */
  public Shard shard() {
    return header.shard();
  }

  /** Returns the SHA-256 of these vectors, by their checksums. */
  byte[] digest() {
    return file.digest();
  }

  @Override
  public long count() {
    return header.count();
  }

  @Override
  public int dimension() {
    return header.dimension();
  }

  /**
   * Hands out views of the file, or float32 copies.
   *
   * @throws LlaraException if a part of the file is damaged
   * @throws IllegalStateException if the set is closed
   */
  @Override
  public void forEachBlock(int rows, BlockReceiver receiver) {
    reading(
        () -> {
          if (header.storage() == VectorStorage.FLOAT32) {
            handOut(Blocks.rows(rows, this), receiver);
          } else {
            Blocks.copy(
                this,
                rows,
                (most, memory) -> {
                  try (FloatPointer copy = new FloatPointer(memory)) {
                    for (long first = 0; first < count(); first += most) {
                      int here = (int) Math.min(most, count() - first);
                      copy(first, here, copy);
                      memory.clear().limit(here * dimension());
                      receiver.accept(first, here, memory.asReadOnlyBuffer());
                    }
                  }
                });
          }
          return this;
        });
  }

  private void handOut(int most, BlockReceiver receiver) {
    for (long first = 0; first < count(); first += most) {
      int here = (int) Math.min(most, count() - first);
      file.check(first * rowBytes, (long) here * rowBytes);
      try (FloatPointer block = floats(first)) {
        receiver.accept(
            first, here, block.capacity((long) here * dimension()).asBuffer().asReadOnlyBuffer());
      }
    }
  }

  /**
   * Checks the whole file.
   *
   * @throws LlaraException if a part of it is damaged
   */
  public void checkAll() {
    reading(
        () -> {
          file.check(0, file.header().length());
          return this;
        });
  }

  /** Writes the blocks of these vectors into another file. */
  void appendTo(BlockFile.Writer writer) throws IOException {
    byte[] block = new byte[file.header().blockBytes()];
    for (int i = 0; i < file.header().blocks(); i++) {
      int number = i;
      reading(
          () -> {
            int length = file.header().bytes(number);
            long offset = (long) number * block.length;
            file.check(offset, length);
            new BytePointer(file.at(offset)).get(block, 0, length);
            return this;
          });
      writer.write(block);
    }
  }

  /** Reads something while the file stays mapped. */
  <T> T reading(Supplier<T> reader) {
    return file.reading(reader);
  }

  /** Checks vectors that are about to be read. Only while {@link #reading}, as all that follow. */
  void check(long index) {
    file.check(index * rowBytes, rowBytes);
  }

  /** Returns where float32 vectors lie from one on; whoever reads there checks them first. */
  FloatPointer floats(long first) {
    return new FloatPointer(file.at(first * rowBytes));
  }

  /** Reads the signs of vectors that are stored as {@link VectorStorage#BINARY}. */
  void readSigns(long first, long[] signs, int rows) {
    file.check(first * rowBytes, (long) rows * rowBytes);
    new BytePointer(file.at(first * rowBytes))
        .capacity((long) rows * rowBytes)
        .asByteBuffer()
        .order(ByteOrder.LITTLE_ENDIAN)
        .asLongBuffer()
        .get(signs, 0, rows * rowBytes / Long.BYTES);
  }

  /** Reads a vector. */
  void read(long index, float[] vector) {
    check(index);
    header
        .storage()
        .read(
            new BytePointer(file.at(index * rowBytes))
                .capacity(rowBytes)
                .asByteBuffer()
                .order(ByteOrder.LITTLE_ENDIAN),
            vector);
  }

  /** Copies vectors, as float32, into native memory. */
  void copy(long first, long rows, FloatPointer memory) {
    file.check(first * rowBytes, rows * rowBytes);
    try (TensorScope scope = new TensorScope()) {
      Tensor target = torch.from_blob(memory, rows, dimension());
      Tensor bytes =
          torch.from_blob(
              file.at(first * rowBytes),
              new long[] {rows, rowBytes},
              new TensorOptions(ScalarType.Byte));
      switch (header.storage()) {
        case FLOAT32 -> target.copy_(bytes.view(ScalarType.Float));
        case FLOAT16 -> target.copy_(bytes.view(ScalarType.Half));
        case INT8 -> {
          // In one dimension: the stride of a single row would be that of its bytes.
          Tensor scales = bytes.narrow(1, 0, Float.BYTES).contiguous().view(-1);
          target.copy_(bytes.narrow(1, Float.BYTES, dimension()).view(ScalarType.Char));
          target.mul_(scales.view(ScalarType.Float).view(rows, 1));
        }
        case BINARY -> {
          Tensor places = torch.arange(new Scalar(Byte.SIZE), new TensorOptions(ScalarType.Byte));
          Tensor bits = bytes.unsqueeze(-1).__rshift__(places).bitwise_and(new Scalar(1));
          target.copy_(bits.view(rows, -1).narrow(1, 0, dimension()));
          float size = VectorStorage.unit(dimension());
          target.mul_(new Scalar(2.0 * size)).sub_(new Scalar((double) size));
        }
      }
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
    file.close();
    folder.ifPresent(TemporaryPath::close);
  }
}
