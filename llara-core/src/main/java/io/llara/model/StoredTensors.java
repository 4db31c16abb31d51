package io.llara.model;

import io.llara.ModelLoadException;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.tensor.TensorFile;
import io.llara.tensor.TensorScope;
import java.io.EOFException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Tensors out of safetensors files, mapped or read, and into them. For one thread; closing it ends
 * no mapping that a tensor still uses.
 */
public final class StoredTensors implements AutoCloseable {
  /** What is dequantised at once: intermediate results stay in the processor's cache. */
  private static final int CHUNK_ELEMENTS = 1 << 18;

  private final Map<Path, TensorFile> files = new HashMap<>();

  /**
   * Returns a tensor that is a view of its file, as {@link TensorFile#map}. The caller owns it. The
   * file must not shrink while the tensor lives.
   *
   * @throws ModelLoadException if the file cannot be mapped or ends within the tensor
   */
  public Tensor map(TensorEntry entry) {
    return load(entry, file -> file.map(entry.offset(), scalarType(entry.type()), entry.shape()));
  }

  /**
   * Returns a tensor with a copy of its bytes. The caller owns it.
   *
   * @throws ModelLoadException if the file cannot be read or ends within the tensor
   */
  public Tensor read(TensorEntry entry) {
    return read(entry, scalarType(entry.type()), entry.shape());
  }

  /**
   * Returns a quantised matrix as floats, {@code [out, in]}: its integers times the scales of their
   * groups, rounded once. The caller owns it.
   *
   * @param integers I8 of shape {@code [out, in]}, or I32 that hold eight of four bits each
   * @param scales {@code [out, groups]}
   * @param type F32, F16 or BF16
   * @throws ModelLoadException as {@link #read}
   * @see io.llara.checkpoint.Quantization
   */
  public Tensor dequantize(TensorEntry integers, TensorEntry scales, ScalarType type) {
    boolean packed = integers.type() == StorageType.I32;
    long rows = integers.shape()[0];
    long bytes = rows == 0 ? 0 : integers.length() / rows;
    long width = packed ? 2 * bytes : bytes;
    try (TensorScope scope = new TensorScope()) {
      Tensor stored =
          TensorScope.adopt(
              read(integers, packed ? ScalarType.Byte : ScalarType.Char, rows, bytes));
      Tensor factors = TensorScope.adopt(read(scales)).to(ScalarType.Float).unsqueeze(-1);
      long groups = factors.size(1);
      Tensor result = torch.empty(new long[] {rows, width}, new TensorOptions(type), null);
      long step = Math.max(1, CHUNK_ELEMENTS / Math.max(1, width));
      for (long begin = 0; begin < rows; begin += step) {
        try (TensorScope chunk = new TensorScope()) {
          long count = Math.min(step, rows - begin);
          Tensor values = stored.narrow(0, begin, count);
          if (packed) {
            // Little-endian: the lower half of a byte comes first.
            Tensor low = values.bitwise_and(new Scalar(15));
            Tensor high = values.__rshift__(new Scalar(4));
            values = torch.stack(new TensorVector(low, high), -1).to(ScalarType.Float);
            values.sub_(new Scalar(8));
          } else {
            values = values.to(ScalarType.Float);
          }
          values =
              values.reshape(count, groups, width / groups).mul_(factors.narrow(0, begin, count));
          result.narrow(0, begin, count).copy_(values.view(count, width));
        }
      }
      return scope.own(result);
    }
  }

  private Tensor read(TensorEntry entry, ScalarType type, long... shape) {
    return load(entry, file -> file.read(entry.offset(), type, shape));
  }

  private interface Way {
    Tensor load(TensorFile file) throws IOException;
  }

  private Tensor load(TensorEntry entry, Way way) {
    TensorFile file = files.computeIfAbsent(entry.file(), TensorFile::new);
    try {
      return way.load(file);
    } catch (EOFException e) {
      throw new ModelLoadException(
          "%s: the file ended within tensor %s; it became shorter while it was loaded"
              .formatted(entry.file(), entry.name()));
    } catch (IOException e) {
      throw new ModelLoadException(
          "%s: tensor %s cannot be read: %s".formatted(entry.file(), entry.name(), e), e);
    }
  }

  /**
   * Returns the elements of a tensor in a storage type, for {@link SafetensorsWriter}; they are
   * converted while they are written, as {@link TensorFile#write}.
   *
   * <p>The tensor stays the caller's; it must live and not change until it is written, which may
   * happen on another thread.
   *
   * @throws IllegalArgumentException if the type is not F32, F16 or BF16
   */
  public static SafetensorsWriter.Content content(Tensor tensor, StorageType type) {
    ScalarType stored = scalarType(type);
    return out -> TensorFile.write(tensor, stored, out);
  }

  /**
   * Returns libtorch's name of a storage type.
   *
   * @throws IllegalArgumentException if the type is not F32, F16 or BF16
   */
  public static ScalarType scalarType(StorageType type) {
    return switch (type) {
      case F32 -> ScalarType.Float;
      case F16 -> ScalarType.Half;
      case BF16 -> ScalarType.BFloat16;
      default -> throw new IllegalArgumentException(type + " is not a type of weights");
    };
  }

  @Override
  public void close() {
    files.values().forEach(TensorFile::close);
    files.clear();
  }
}
