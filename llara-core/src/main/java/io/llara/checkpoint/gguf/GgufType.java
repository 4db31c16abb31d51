package io.llara.checkpoint.gguf;

import com.google.common.base.Splitter;
import io.llara.checkpoint.HalfFloats;
import io.llara.checkpoint.StorageType;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * The tensor types of a GGUF file that are read, with the layout of their blocks.
 *
 * <p>A block stands for a run of neighbouring elements of a row. The quantised types hold one or
 * two half-precision numbers per block and a few bits per element; the layouts are those of the
 * ggml library. What {@link #decode} gives is exact in single precision up to the rounding of one
 * product and one sum, in the order in which ggml forms them.
 */
enum GgufType {
  /** Single precision. */
  F32(0, 1, 4) {
    @Override
    void decode(ByteBuffer in, int from, float[] out, int to) {
      out[to] = in.getFloat(from);
    }
  },
  /** Half precision. */
  F16(1, 1, 2) {
    @Override
    void decode(ByteBuffer in, int from, float[] out, int to) {
      out[to] = half(in, from);
    }
  },
  /** The upper half of a single. */
  BF16(30, 1, 2) {
    @Override
    void decode(ByteBuffer in, int from, float[] out, int to) {
      out[to] = HalfFloats.fromBf16(in.getShort(from));
    }
  },
  /** A scale, then 32 times four bits: {@code scale * (q - 8)}. */
  Q4_0(2, 32, 18) {
    @Override
    void decode(ByteBuffer in, int from, float[] out, int to) {
      float scale = half(in, from);
      nibbles(in, from + 2, 0, out, to);
      for (int i = to; i < to + 32; i++) {
        out[i] = scale * (out[i] - 8);
      }
    }
  },
  /** A scale and a minimum, then 32 times four bits: {@code scale * q + minimum}. */
  Q4_1(3, 32, 20) {
    @Override
    void decode(ByteBuffer in, int from, float[] out, int to) {
      float scale = half(in, from);
      float minimum = half(in, from + 2);
      nibbles(in, from + 4, 0, out, to);
      for (int i = to; i < to + 32; i++) {
        out[i] = scale * out[i] + minimum;
      }
    }
  },
  /** A scale, 32 fifth bits, then 32 times four bits: {@code scale * (q - 16)}. */
  Q5_0(6, 32, 22) {
    @Override
    void decode(ByteBuffer in, int from, float[] out, int to) {
      float scale = half(in, from);
      nibbles(in, from + 6, in.getInt(from + 2), out, to);
      for (int i = to; i < to + 32; i++) {
        out[i] = scale * (out[i] - 16);
      }
    }
  },
  /** A scale, a minimum, 32 fifth bits, then 32 times four bits: {@code scale * q + minimum}. */
  Q5_1(7, 32, 24) {
    @Override
    void decode(ByteBuffer in, int from, float[] out, int to) {
      float scale = half(in, from);
      float minimum = half(in, from + 2);
      nibbles(in, from + 8, in.getInt(from + 4), out, to);
      for (int i = to; i < to + 32; i++) {
        out[i] = scale * out[i] + minimum;
      }
    }
  },
  /** A scale, then 32 signed bytes: {@code scale * q}. */
  Q8_0(8, 32, 34) {
    @Override
    void decode(ByteBuffer in, int from, float[] out, int to) {
      float scale = half(in, from);
      for (int i = 0; i < 32; i++) {
        out[to + i] = scale * in.get(from + 2 + i);
      }
    }
  },
  /**
   * 256 elements: the lower four bits of each, the upper two, a signed byte of scale for every
   * sixteen, and a scale of these scales: {@code scale * scales[i / 16] * (q - 32)}.
   */
  Q6_K(14, 256, 210) {
    @Override
    void decode(ByteBuffer in, int from, float[] out, int to) {
      float scale = half(in, from + 208);
      for (int i = 0; i < 256; i++) {
        // Each half of the block has four runs of 32: two in the low nibbles, two in the high.
        int half = i >>> 7;
        int run = i >>> 5 & 3;
        int column = i & 31;
        int low = in.get(from + half * 64 + (run & 1) * 32 + column) >>> (run >>> 1) * 4 & 15;
        int high = in.get(from + 128 + half * 32 + column) >>> run * 2 & 3;
        float part = scale * in.get(from + 192 + (i >>> 4));
        out[to + i] = part * ((low | high << 4) - 32);
      }
    }
  };

  /** Types that other programs know, for messages; numbers without a name were given up. */
  private static final Map<String, String> OTHERS =
      Splitter.on(' ')
          .withKeyValueSeparator(':')
          .split(
              "9:Q8_1 10:Q2_K 11:Q3_K 12:Q4_K 13:Q5_K 15:Q8_K 16:IQ2_XXS 17:IQ2_XS 18:IQ3_XXS"
                  + " 19:IQ1_S 20:IQ4_NL 21:IQ3_S 22:IQ2_S 23:IQ4_XS 24:I8 25:I16 26:I32 27:I64"
                  + " 28:F64 29:IQ1_M 34:TQ1_0 35:TQ2_0 39:MXFP4");

  private static final int SCALE_BYTES = 2;

  private final int id;
  private final int blockElements;
  private final int blockBytes;

  GgufType(int id, int blockElements, int blockBytes) {
    this.id = id;
    this.blockElements = blockElements;
    this.blockBytes = blockBytes;
  }

  /** Decodes the block that begins at an index of a little-endian buffer. */
  abstract void decode(ByteBuffer in, int from, float[] out, int to);

  /** Returns the number that the type has in a file. */
  int number() {
    return id;
  }

  /** Returns the number of neighbouring elements that a block stands for. */
  int blockElements() {
    return blockElements;
  }

  /** Returns the number of bytes that a block takes. */
  int blockBytes() {
    return blockBytes;
  }

  /**
   * Returns the bits of the integers that a block is, times its scale; 0 if it is more than that.
   */
  int bits() {
    return switch (this) {
      case Q8_0 -> 8;
      case Q4_0 -> 4;
      default -> 0;
    };
  }

  /**
   * Puts the integers of a block of Q8_0 or Q4_0 into a buffer: as bytes, or two in a byte, each
   * plus eight, the first in the lower half.
   *
   * @param bits 8 or 4, not below {@link #bits()}
   */
  void putIntegers(ByteBuffer in, int from, int bits, ByteBuffer out) {
    int begin = from + SCALE_BYTES;
    if (this == Q8_0) {
      out.put(out.position(), in, begin, blockElements);
      out.position(out.position() + blockElements);
    } else if (bits == 8) {
      for (int i = 0; i < blockElements; i++) {
        out.put((byte) (nibble(in, begin, i) - 8));
      }
    } else {
      for (int i = 0; i < blockElements; i += 2) {
        out.put((byte) (nibble(in, begin, i) | nibble(in, begin, i + 1) << 4));
      }
    }
  }

  /** The second half of a block lies in the high nibbles. */
  private static int nibble(ByteBuffer in, int begin, int index) {
    return in.get(begin + index % 16) >>> index / 16 * 4 & 15;
  }

  /** Returns the scale of a block of Q8_0 or Q4_0, in half precision. */
  static short scale(ByteBuffer in, int from) {
    return in.getShort(from);
  }

  /** Returns the type that stores the decoded elements without loss. */
  StorageType storage() {
    return switch (this) {
      case F16 -> StorageType.F16;
      case BF16 -> StorageType.BF16;
      default -> StorageType.F32;
    };
  }

  /** Returns the type by its number in the file, if it is one of those read. */
  static Optional<GgufType> numbered(long id) {
    return Arrays.stream(values()).filter(type -> type.id == id).findFirst();
  }

  /** Returns the name of any type by its number. */
  static String name(long id) {
    String other = OTHERS.get(Long.toString(id));
    String unread = other == null ? "number " + id : other + " (number " + id + ")";
    return numbered(id).map(GgufType::name).orElse(unread);
  }

  /** Returns the names of the types that are read. */
  static String names() {
    return Arrays.stream(values()).map(GgufType::name).collect(Collectors.joining(", "));
  }

  private static float half(ByteBuffer in, int at) {
    return HalfFloats.fromF16(in.getShort(at));
  }

  /** Reads 32 times four bits, the second half in the high nibbles, under their fifth bits. */
  private static void nibbles(ByteBuffer in, int from, int fifths, float[] out, int to) {
    for (int i = 0; i < 16; i++) {
      int pair = in.get(from + i);
      out[to + i] = pair & 15 | (fifths >>> i & 1) << 4;
      out[to + 16 + i] = pair >>> 4 & 15 | (fifths >>> i + 16 & 1) << 4;
    }
  }
}
