package io.llara.retrieval;

import io.llara.LlaraException;
import java.nio.ByteBuffer;

/**
 * How vectors lie in a file. Read, they are float32 again, and everything computes with these: a
 * score is that of the vectors as stored.
 */
public enum VectorStorage {
  /** Four bytes a value: the vectors as they are. */
  FLOAT32 {
    @Override
    int rowBytes(int dimension) {
      return Float.BYTES * dimension;
    }

    @Override
    void write(float[] vector, ByteBuffer row) {
      for (float value : vector) {
        row.putFloat(value);
      }
    }

    @Override
    void read(ByteBuffer row, float[] vector) {
      row.asFloatBuffer().get(vector);
    }
  },

  /**
   * Two bytes a value: IEEE 754 binary16, rounded to nearest, ties to even. Values of vectors of
   * length 1 are off by at most a 2,000th of themselves.
   */
  FLOAT16 {
    @Override
    int rowBytes(int dimension) {
      return Short.BYTES * dimension;
    }

    @Override
    void write(float[] vector, ByteBuffer row) {
      for (float value : vector) {
        row.putShort(half(value));
      }
    }

    @Override
    void read(ByteBuffer row, float[] vector) {
      for (int i = 0; i < vector.length; i++) {
        vector[i] = single(row.getShort());
      }
    }
  },

  /**
   * One byte a value, and four a vector: a float32 scale, a 127th of the largest absolute value,
   * and each value as the nearest multiple of it.
   */
  INT8 {
    @Override
    int rowBytes(int dimension) {
      return Float.BYTES + dimension;
    }

    @Override
    void write(float[] vector, ByteBuffer row) {
      float largest = 0;
      for (float value : vector) {
        largest = Math.max(largest, Math.abs(value));
      }
      float scale = largest / Byte.MAX_VALUE;
      row.putFloat(scale);
      for (float value : vector) {
        double level = scale == 0 ? 0 : Math.rint(value / (double) scale);
        // Of a subnormal scale a value may be more than 127.
        row.put((byte) Math.max(-Byte.MAX_VALUE, Math.min(Byte.MAX_VALUE, level)));
      }
    }

    @Override
    void read(ByteBuffer row, float[] vector) {
      float scale = row.getFloat();
      for (int i = 0; i < vector.length; i++) {
        vector[i] = scale * row.get();
      }
    }
  },

  /**
   * One bit a value, whether it is more than 0, in whole groups of 64. Read, each value is {@code
   * ±1/√dimension}, so that the vector has length 1. {@link SignSearch} compares the bits
   * themselves.
   */
  BINARY {
    @Override
    int rowBytes(int dimension) {
      return Long.BYTES * ((dimension + Long.SIZE - 1) / Long.SIZE);
    }

    @Override
    void write(float[] vector, ByteBuffer row) {
      for (long bits : signs(vector)) {
        row.putLong(bits);
      }
    }

    @Override
    void read(ByteBuffer row, float[] vector) {
      float size = unit(vector.length);
      long bits = 0;
      for (int i = 0; i < vector.length; i++) {
        bits = i % Long.SIZE == 0 ? row.getLong() : bits >>> 1;
        vector[i] = (bits & 1) == 1 ? size : -size;
      }
    }
  };

  private static final float LARGEST_HALF = 65_504;
  private static final int SIGN = 0x8000;
  private static final int FRACTION_BITS = 10;
  private static final int INFINITE = 0x7C00;

  /** Returns how many bytes a vector takes. */
  abstract int rowBytes(int dimension);

  /** Puts a finite vector into a little-endian buffer. */
  abstract void write(float[] vector, ByteBuffer row);

  /** Gets a vector from a little-endian buffer. */
  abstract void read(ByteBuffer row, float[] vector);

  /** Returns which values are more than 0, the first in the lowest bit of the first number. */
  static long[] signs(float[] vector) {
    long[] signs = new long[BINARY.rowBytes(vector.length) / Long.BYTES];
    for (int i = 0; i < vector.length; i++) {
      if (vector[i] > 0) {
        signs[i / Long.SIZE] |= 1L << i;
      }
    }
    return signs;
  }

  /** Returns the size of the values of a vector of length 1 that are all of one size. */
  static float unit(int dimension) {
    return (float) (1 / Math.sqrt(dimension));
  }

  /** Returns the nearest binary16; of two the even one. */
  private static short half(float value) {
    float size = Math.abs(value);
    if (size > LARGEST_HALF) {
      throw new LlaraException(
          "the value %s is too large for float16, which ends at %s".formatted(value, LARGEST_HALF));
    }
    int sign = Float.floatToRawIntBits(value) >>> 16 & SIGN;
    // The distance of neighbours near this value, at least that of subnormal numbers: a quotient of
    // powers of two is exact, and rint rounds ties to even.
    int exponent = Math.max(Math.getExponent(size), -14);
    int units = (int) Math.rint(Math.scalb((double) size, FRACTION_BITS - exponent));
    // A normal number's units have the bit that is not stored: it adds one to the exponent, and so
    // does a carry.
    return (short) (sign | (exponent + 14 << FRACTION_BITS) + units);
  }

  private static float single(short half) {
    int bits = half & 0xFFFF;
    int magnitude = bits & SIGN - 1;
    float size;
    if (magnitude >= INFINITE) {
      size = magnitude == INFINITE ? Float.POSITIVE_INFINITY : Float.NaN;
    } else if (magnitude < 1 << FRACTION_BITS) {
      size = magnitude * 0x1p-24f;
    } else {
      size = Float.intBitsToFloat((magnitude << 13) + (112 << 23));
    }
    return bits < SIGN ? size : -size;
  }
}
