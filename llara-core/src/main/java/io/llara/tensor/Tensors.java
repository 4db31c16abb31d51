package io.llara.tensor;

import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Java arrays in, Java arrays out. Results belong to the caller's innermost scope. */
public final class Tensors {
  private Tensors() {}

  /** Copies integers into an int64 tensor, {@code [length]}. */
  public static Tensor ofInts(int[] values) {
    long[] longs = new long[values.length];
    for (int i = 0; i < longs.length; i++) {
      longs[i] = values[i];
    }
    Tensor tensor =
        torch.empty(new long[] {longs.length}, new TensorOptions(ScalarType.Long), null);
    if (longs.length > 0) { // A tensor without elements has no address.
      try (LongPointer data = tensor.data_ptr_long()) {
        data.put(longs);
      }
    }
    return tensor;
  }

  /** Copies floats, row-major, into a float32 tensor of a shape. */
  public static Tensor ofFloats(float[] values, long... shape) {
    Tensor tensor = torch.empty(shape, new TensorOptions(ScalarType.Float), null);
    if (values.length > 0) {
      try (FloatPointer data = tensor.data_ptr_float()) {
        data.put(values);
      }
    }
    return tensor;
  }

  /** Copies a tensor of any floating type into an array, row-major. */
  public static float[] toFloats(Tensor tensor) {
    try (TensorScope scope = new TensorScope()) {
      Tensor floats = tensor.to(ScalarType.Float).contiguous();
      float[] values = new float[Math.toIntExact(floats.numel())];
      if (values.length > 0) {
        floats.data_ptr_float().get(values);
      }
      return values;
    }
  }
}
