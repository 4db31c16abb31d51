package io.llara.checkpoint;

import java.util.Arrays;
import java.util.Optional;

/**
 * The element type of a stored tensor, named as in the <a
 * href="https://github.com/huggingface/safetensors#format">safetensors format</a>.
 *
 * <p>All types here are understood when a file is checked; only {@link #F32}, {@link #F16} and
 * {@link #BF16} are accepted as weights.
 */
public enum StorageType {
  /** IEEE 754 double precision. */
  F64(8),
  /** IEEE 754 single precision. */
  F32(4),
  /** IEEE 754 half precision. */
  F16(2),
  /** The upper half of a single: eight exponent bits, seven of fraction. */
  BF16(2),
  /** Signed 64-bit integer. */
  I64(8),
  /** Unsigned 64-bit integer. */
  U64(8),
  /** Signed 32-bit integer. */
  I32(4),
  /** Unsigned 32-bit integer. */
  U32(4),
  /** Signed 16-bit integer. */
  I16(2),
  /** Unsigned 16-bit integer. */
  U16(2),
  /** Signed 8-bit integer. */
  I8(1),
  /** Unsigned 8-bit integer. */
  U8(1),
  /** One byte, zero or one. */
  BOOL(1),
  /** 8-bit float with four exponent bits. */
  F8_E4M3(1),
  /** 8-bit float with five exponent bits. */
  F8_E5M2(1);

  private final int bytes;

  StorageType(int bytes) {
    this.bytes = bytes;
  }

  /** Returns the size of one element in bytes. */
  public int bytes() {
    return bytes;
  }

  /** Returns whether weights may be stored in this type: F32, F16 or BF16. */
  public boolean isWeightType() {
    return this == F32 || this == F16 || this == BF16;
  }

  /** Returns what a {@code config.json} calls a type of weights. */
  public String torchName() {
    return switch (this) {
      case F32 -> "float32";
      case F16 -> "float16";
      case BF16 -> "bfloat16";
      default -> throw new IllegalStateException(this + " is not a type of weights");
    };
  }

  /**
   * Returns the value of this type of weights that is nearest to a float, ties to even.
   *
   * @throws IllegalStateException if this is not a type of weights
   */
  public float rounded(float value) {
    return switch (this) {
      case F32 -> value;
      case F16 -> HalfFloats.fromF16(HalfFloats.toF16(value));
      case BF16 -> HalfFloats.fromBf16(HalfFloats.toBf16(value));
      default -> throw new IllegalStateException(this + " is not a type of weights");
    };
  }

  static Optional<StorageType> named(String name) {
    return Arrays.stream(values()).filter(type -> type.name().equals(name)).findFirst();
  }
}
