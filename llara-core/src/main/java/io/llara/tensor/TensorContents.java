package io.llara.tensor;

import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** The bytes of tensors, for {@link SafetensorsWriter}. */
public final class TensorContents {
  /** A piece at a time is converted, in native memory: a model is never there twice. */
  private static final int CHUNK_ELEMENTS = 1 << 20;

  private TensorContents() {}

  /**
   * Returns what a tensor holds, row-major and in a storage type, converted while it is written
   * (round to nearest, ties to even; what is too large for F16 becomes infinite). A contiguous
   * tensor of that type is written from its own memory.
   *
   * <p>The tensor stays the caller's; it must live and not change until it is written, which may
   * happen on another thread.
   *
   * @param tensor of any floating type and shape; may require gradients
   * @throws IllegalArgumentException if the type is not F32, F16 or BF16
   */
  public static SafetensorsWriter.Content of(Tensor tensor, StorageType type) {
    ScalarType stored = NumberTypes.of(type);
    return out -> write(tensor, stored, type.bytes(), out);
  }

  private static void write(Tensor tensor, ScalarType type, int bytes, WritableByteChannel out)
      throws IOException {
    try (TensorScope scope = new TensorScope()) {
      // Detached, or each piece would be recorded for autograd.
      Tensor values = tensor.detach();
      // In one dimension any piece is a view; otherwise whole rows are made contiguous.
      Tensor rows = values.is_contiguous() ? values.view(-1) : values;
      long count = rows.size(0);
      long step = count == 0 ? 1 : Math.max(1, CHUNK_ELEMENTS / Math.max(1, rows.numel() / count));
      for (long begin = 0; begin < count; begin += step) {
        writeRows(rows, begin, Math.min(step, count - begin), type, bytes, out);
      }
    }
  }

  private static void writeRows(
      Tensor rows, long begin, long count, ScalarType type, int bytes, WritableByteChannel out)
      throws IOException {
    try (TensorScope scope = new TensorScope()) {
      Tensor piece = rows.narrow(0, begin, count).to(type).cpu().contiguous();
      long length = piece.numel() * bytes;
      BytePointer data = new BytePointer(piece.data_ptr());
      for (long done = 0; done < length; ) {
        // One row alone may be longer than a buffer over native memory can be.
        long end = Math.min(length, done + (1L << 30));
        ByteBuffer buffer = data.position(done).limit(end).asByteBuffer();
        while (buffer.hasRemaining()) {
          out.write(buffer);
        }
        done = end;
      }
    }
  }
}
