package io.llara.checkpoint.gguf;

import com.google.gson.JsonPrimitive;
import java.io.IOException;

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

  private static final int MAX_STRING_BYTES = 16 << 20;

  private final int leastBytes;

  GgufValueType(int leastBytes) {
    this.leastBytes = leastBytes;
  }

  /** Returns the number of bytes of a value; for strings and arrays, of an empty one. */
  int leastBytes() {
    return leastBytes;
  }

  /**
   * Reads a value of this type, arrays excepted. An unsigned number from 2^63 on becomes a double;
   * single precision becomes the shortest decimal number that it stands for.
   */
  JsonPrimitive read(GgufInput in) throws IOException {
    if (this == STRING) {
      return new JsonPrimitive(in.string(MAX_STRING_BYTES));
    }
    long bits = in.number(leastBytes);
    return switch (this) {
      case BOOL -> bool(bits, in);
      case INT8 -> new JsonPrimitive((byte) bits);
      case INT16 -> new JsonPrimitive((short) bits);
      case INT32 -> new JsonPrimitive((int) bits);
      case FLOAT32 ->
          new JsonPrimitive(Double.valueOf(Float.toString(Float.intBitsToFloat((int) bits))));
      case FLOAT64 -> new JsonPrimitive(Double.longBitsToDouble(bits));
      case UINT64 -> bits < 0 ? new JsonPrimitive(bits + 0x1p64) : new JsonPrimitive(bits);
      default -> new JsonPrimitive(bits);
    };
  }

  private static JsonPrimitive bool(long bits, GgufInput in) {
    if (bits > 1) {
      throw in.problem("is a truth value of %d; expected 0 or 1".formatted(bits));
    }
    return new JsonPrimitive(bits == 1);
  }
}
