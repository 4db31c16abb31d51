package io.llara.tensor;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A file that holds the elements of tensors, in the machine's byte order and row-major: ranges of
 * its bytes are mapped or read as tensors, which the caller owns. Thread-safe; closing it ends no
 * mapping that a tensor still uses.
 */
public final class TensorFile implements AutoCloseable {
  /** A buffer over native memory holds an int's worth of bytes. */
  private static final long LARGEST_BUFFER = 1 << 30;

  /** A piece at a time is converted, in native memory: a model is never there twice. */
  private static final int CHUNK_ELEMENTS = 1 << 20;

  /** How this process spells file names to the system; not always the default charset. */
  private static final Charset FILE_NAMES =
      Charset.forName(System.getProperty("sun.jnu.encoding", "UTF-8"));

  private final Path path;
  private @Nullable Tensor mapped;

  /** Names a file; it is opened when it is mapped or read. */
  public TensorFile(Path path) {
    this.path = path;
  }

  /**
   * Returns a tensor that is a view of the file: no memory is allocated, pages are read when
   * touched. The file must not shrink while the tensor lives. Bytes that do not begin at a multiple
   * of the element size are read instead.
   *
   * @param offset the first byte
   * @throws EOFException if the file ends within the tensor
   * @throws IOException if the file cannot be mapped
   */
  public Tensor map(long offset, ScalarType type, long... shape) throws IOException {
    long length = bytes(type, shape);
    if (offset % torch.elementSize(type) != 0 || length == 0) {
      return read(offset, type, shape);
    }
    try (TensorScope scope = new TensorScope()) {
      Tensor bytes = whole();
      if (offset + length > bytes.numel()) {
        throw new EOFException();
      }
      return scope.own(bytes.narrow(0, offset, length).view(type).view(shape));
    }
  }

  private synchronized Tensor whole() throws IOException {
    if (mapped == null) {
      try (TensorScope scope = new TensorScope()) {
        mapped = scope.own(mapWhole());
      }
    }
    return mapped;
  }

  /**
   * Returns a tensor with a copy of its bytes.
   *
   * @param offset the first byte
   * @throws EOFException if the file ends within the tensor
   * @throws IOException if the file cannot be read
   */
  public Tensor read(long offset, ScalarType type, long... shape) throws IOException {
    try (TensorScope scope = new TensorScope();
        FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      Tensor tensor = torch.empty(shape, new TensorOptions(type), null);
      BytePointer data = new BytePointer(tensor.data_ptr());
      long length = bytes(type, shape);
      for (long begin = 0; begin < length; begin += LARGEST_BUFFER) {
        ByteBuffer buffer = buffer(data, begin, length);
        while (buffer.hasRemaining()) {
          if (channel.read(buffer, offset + begin + buffer.position()) < 0) {
            throw new EOFException();
          }
        }
      }
      return scope.own(tensor);
    }
  }

  /** Writes the elements of a tensor to a channel. */
  @FunctionalInterface
  public interface Elements {
    void writeTo(WritableByteChannel out) throws IOException;
  }

  /**
   * Returns a tensor of the bytes that are written to it. The caller owns it.
   *
   * @throws IllegalStateException if there are more or fewer than it has
   * @throws IOException if {@code elements} does
   */
  public static Tensor of(Elements elements, ScalarType type, long... shape) throws IOException {
    try (TensorScope scope = new TensorScope()) {
      Tensor tensor = torch.empty(shape, new TensorOptions(type), null);
      MemoryChannel memory =
          new MemoryChannel(new BytePointer(tensor.data_ptr()), bytes(type, shape));
      elements.writeTo(memory);
      if (memory.position != memory.length) {
        throw new IllegalStateException(
            "%d bytes were written; a tensor of %s %s has %d"
                .formatted(memory.position, type, Arrays.toString(shape), memory.length));
      }
      return scope.own(tensor);
    }
  }

  /** Writes into native memory that lives longer than it. */
  private static final class MemoryChannel implements WritableByteChannel {
    private final BytePointer data;
    private final long length;
    private long position;

    MemoryChannel(BytePointer data, long length) {
      this.data = data;
      this.length = length;
    }

    @Override
    public int write(ByteBuffer source) {
      int count = source.remaining();
      if (count > length - position) {
        throw new IllegalStateException("more than %d bytes were written".formatted(length));
      }
      data.position(position).limit(position + count).asByteBuffer().put(source);
      position += count;
      return count;
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }

  /**
   * Writes the elements of a tensor, row-major, converted piece by piece (round to nearest, ties to
   * even; what is too large for float16 becomes infinite). A contiguous tensor of that type is
   * written from its own memory.
   *
   * @param tensor of any floating type and shape; may require gradients
   */
  public static void write(Tensor tensor, ScalarType type, WritableByteChannel out)
      throws IOException {
    try (TensorScope scope = new TensorScope()) {
      // Detached, or autograd would record each piece.
      Tensor values = tensor.detach();
      // In one dimension any piece is a view; otherwise whole rows are made contiguous.
      Tensor rows = values.is_contiguous() ? values.view(-1) : values;
      long count = rows.size(0);
      long step = count == 0 ? 1 : Math.max(1, CHUNK_ELEMENTS / Math.max(1, rows.numel() / count));
      for (long begin = 0; begin < count; begin += step) {
        writeWhole(rows.narrow(0, begin, Math.min(step, count - begin)), type, out);
      }
    }
  }

  private static void writeWhole(Tensor tensor, ScalarType type, WritableByteChannel out)
      throws IOException {
    try (TensorScope scope = new TensorScope()) {
      Tensor piece = tensor.to(type).cpu().contiguous();
      long length = piece.numel() * torch.elementSize(type);
      BytePointer data = new BytePointer(piece.data_ptr());
      for (long begin = 0; begin < length; begin += LARGEST_BUFFER) {
        ByteBuffer buffer = buffer(data, begin, length);
        while (buffer.hasRemaining()) {
          out.write(buffer);
        }
      }
    }
  }

  /** Bytes from {@code begin} on, as many as a buffer can hold. */
  private static ByteBuffer buffer(BytePointer data, long begin, long length) {
    return data.position(begin).limit(Math.min(length, begin + LARGEST_BUFFER)).asByteBuffer();
  }

  private static long bytes(ScalarType type, long... shape) {
    long elements = 1;
    for (long size : shape) {
      elements *= size;
    }
    return elements * torch.elementSize(type);
  }

  private Tensor mapWhole() throws IOException {
    long size = Files.size(path);
    try {
      return torch.torch_from_file(
          new BytePointer(path.toString(), FILE_NAMES),
          new BoolOptional(false),
          new LongOptional(size),
          new TensorOptions(ScalarType.Byte));
    } catch (RuntimeException e) {
      // JavaCPP's only exception type for native errors; its message goes on with a stack.
      String message = String.valueOf(e.getMessage()).lines().findFirst().orElse("");
      throw new IOException("it cannot be mapped into memory: " + message, e);
    }
  }

  @Override
  public synchronized void close() {
    if (mapped != null) {
      mapped.close();
      mapped = null;
    }
  }
}
