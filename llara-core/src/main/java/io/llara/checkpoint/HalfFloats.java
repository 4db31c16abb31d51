package io.llara.checkpoint;

/** Conversions between single precision and the two 16-bit types; narrowing rounds to even. */
public final class HalfFloats {
  private HalfFloats() {}

  public static float fromBf16(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  public static short toBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      // A NaN whose payload sits in the lower half would otherwise turn into an infinity.
      return (short) (bits >>> 16 | 0x40);
    }
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }

  public static float fromF16(short bits) {
    int sign = (bits & 0x8000) << 16;
    int exponent = bits >>> 10 & 0x1f;
    int fraction = bits & 0x3ff;
    if (exponent == 0) {
      int magnitude = Float.floatToRawIntBits(fraction * 0x1p-24f);
      return Float.intBitsToFloat(sign | magnitude);
    }
    int wide = exponent == 0x1f ? 0xff : exponent + 112;
    return Float.intBitsToFloat(sign | wide << 23 | fraction << 13);
  }

  public static short toF16(float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = bits >>> 16 & 0x8000;
    int magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) {
      return (short) (sign | 0x7e00);
    }
    float absolute = Float.intBitsToFloat(magnitude);
    if (absolute >= 0x1p16f) {
      return (short) (sign | 0x7c00);
    }
    if (absolute < 0x1p-14f) {
      // Subnormal: a whole number of steps of 2^-24; the product is exact.
      return (short) (sign | (int) Math.rint(absolute * 0x1p24f));
    }
    int rounded = magnitude - (112 << 23) + 0xfff + (magnitude >>> 13 & 1);
    return (short) (sign | rounded >>> 13);
  }
}
