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
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Tensors out of safetensors files, mapped or read, and into them. Thread-safe; closing it ends no
 * mapping that a tensor still uses.
 */
public final class StoredTensors implements AutoCloseable {
  private final Map<Path, TensorFile> files = new ConcurrentHashMap<>();

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
   * Returns a quantised matrix. The caller owns it.
   *
   * @param integers I8 of shape {@code [out, in]}, or I32 that hold eight of four bits each
   * @param scales {@code [out, groups]}
   * @throws ModelLoadException as {@link #read}
   */
  QuantizedMatrix quantized(TensorEntry integers, TensorEntry scales) {
    ScalarType type = integers.type() == StorageType.I32 ? ScalarType.Byte : ScalarType.Char;
    long rows = integers.shape()[0];
    try (TensorScope scope = new TensorScope()) {
      Tensor values =
          TensorScope.adopt(read(integers, type, rows, rows == 0 ? 0 : integers.length() / rows));
      Tensor factors = TensorScope.adopt(read(scales)).to(ScalarType.Float);
      return new QuantizedMatrix(scope.own(values), scope.own(factors));
    }
  }

  /** Returns a quantised matrix in a floating type, as {@link #quantized}. The caller owns it. */
  Tensor dequantize(TensorEntry integers, TensorEntry scales, ScalarType type) {
    try (QuantizedMatrix matrix = quantized(integers, scales)) {
      return matrix.floats(type);
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
