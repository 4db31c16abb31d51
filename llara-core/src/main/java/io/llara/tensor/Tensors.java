package io.llara.tensor;

import io.llara.ComputeType;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptionalList;
import org.bytedeco.pytorch.TensorOptionalVector;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Java arrays in, Java arrays out. Results belong to the caller's innermost scope. */
public final class Tensors {
  private Tensors() {}

  /**
   * Returns libtorch's name of the type that a compute type has between its products.
   *
   * @param type not {@code AUTO}
   */
  public static ScalarType scalarType(ComputeType type) {
    return switch (type) {
      case FLOAT32, INT8 -> ScalarType.Float;
      case BFLOAT16, FLOAT8 -> ScalarType.BFloat16;
      case FLOAT16 -> ScalarType.Half;
      case AUTO -> throw new IllegalArgumentException("AUTO is to be resolved first");
    };
  }

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

  /** Copies integers into an int64 tensor, {@code [length]}, on the device of another tensor. */
  public static Tensor ofInts(int[] values, Tensor beside) {
    return placed(ofInts(values), beside);
  }

  /** Returns a tensor of the processor's memory on the device of another one. */
  public static Tensor placed(Tensor host, Tensor beside) {
    return beside.is_cpu() ? host : host.to(beside.device(), host.scalar_type());
  }

  /** Returns zeros of a type on the device of another tensor. */
  public static Tensor zeros(ScalarType type, Tensor beside, long... shape) {
    return torch.zeros(shape, beside.options().dtype(new ScalarTypeOptional(type)));
  }

  /** Returns a tensor of a type on the device of another one, whose elements are undefined. */
  public static Tensor empty(ScalarType type, Tensor beside, long... shape) {
    return torch.empty(shape, beside.options().dtype(new ScalarTypeOptional(type)), null);
  }

  /**
   * Returns rows of a tensor by their indices. On the meta device, on which shapes are checked,
   * libtorch has no {@code index_select}.
   */
  public static Tensor rows(Tensor x, Tensor indices) {
    return x.is_meta()
        ? torch.index(
            x, new TensorOptionalList(new TensorOptionalVector(new TensorOptional(indices))))
        : x.index_select(0, indices);
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

  /**
   * Copies a tensor of any floating type, on any device, into an array, row-major; zeros if it is
   * on the meta device, where tensors have no elements.
   */
  public static float[] toFloats(Tensor tensor) {
    if (tensor.is_meta()) {
      return new float[Math.toIntExact(tensor.numel())];
    }
    try (TensorScope scope = new TensorScope()) {
      Tensor floats = tensor.to(ScalarType.Float).cpu().contiguous();
      float[] values = new float[Math.toIntExact(floats.numel())];
      if (values.length > 0) {
        floats.data_ptr_float().get(values);
      }
      return values;
    }
  }
}
