package io.llara.checkpoint.gguf;

import java.nio.ByteBuffer;

/** The types of metadata values, in the order of their numbers in the file. */
enum GgufValueType {
  UINT8(1),
  INT8(1),
  UINT16(2),
  INT16(2),
  UINT32(4),
  INT32(4),
  FLOAT32(4),
  BOOL(1),
  /** Eight bytes of length, then the characters. */
  STRING(8),
  /** Four bytes of element type, eight of length, then the elements. */
  ARRAY(12),
  UINT64(8),
  INT64(8),
  FLOAT64(8);

  private final int leastBytes;

  GgufValueType(int leastBytes) {
    this.leastBytes = leastBytes;
  }

  /** Returns the number of bytes of a value; for strings and arrays, of an empty one. */
  int leastBytes() {
    return leastBytes;
  }

  boolean isInteger() {
    return switch (this) {
      case UINT8, INT8, UINT16, INT16, UINT32, INT32, UINT64, INT64 -> true;
      default -> false;
    };
  }

  /**
   * Returns the number at an index of an array of this type. An unsigned one from 2^63 on becomes a
   * Double.
   */
  Number number(ByteBuffer array, int index) {
    int at = index * leastBytes;
    return switch (this) {
      case UINT8, BOOL -> (long) Byte.toUnsignedInt(array.get(at));
      case INT8 -> (long) array.get(at);
      case UINT16 -> (long) Short.toUnsignedInt(array.getShort(at));
      case INT16 -> (long) array.getShort(at);
      case UINT32 -> Integer.toUnsignedLong(array.getInt(at));
      case INT32 -> (long) array.getInt(at);
      case UINT64 -> unsigned(array.getLong(at));
      case INT64 -> array.getLong(at);
      case FLOAT32 -> array.getFloat(at);
      case FLOAT64 -> array.getDouble(at);
      case STRING, ARRAY -> throw new IllegalStateException(this + " is not a number");
    };
  }

  private static Number unsigned(long bits) {
    return bits >= 0 ? (Number) Long.valueOf(bits) : Double.valueOf(bits + 0x1p64);
  }
}
