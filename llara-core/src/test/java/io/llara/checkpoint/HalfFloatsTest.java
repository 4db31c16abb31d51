package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class HalfFloatsTest {
  @Test
  void everyHalfComesBack() {
    for (int bits = 0; bits < 1 << 16; bits++) {
      float value = HalfFloats.fromF16((short) bits);
      short back = HalfFloats.toF16(value);
      if (Float.isNaN(value)) {
        assertThat(HalfFloats.fromF16(back)).isNaN();
      } else {
        assertThat(back).isEqualTo((short) bits);
      }
    }
  }

  @Test
  void everyBfloatComesBack() {
    for (int bits = 0; bits < 1 << 16; bits++) {
      float value = HalfFloats.fromBf16((short) bits);
      short back = HalfFloats.toBf16(value);
      if (Float.isNaN(value)) {
        assertThat(HalfFloats.fromBf16(back)).isNaN();
      } else {
        assertThat(back).isEqualTo((short) bits);
      }
    }
  }

  // The smallest subnormal of a half is 2^-24 = 5.96e-8, its largest finite number 65504.
  @ParameterizedTest
  @CsvSource({
    "1, 3c00",
    "-2, c000",
    "65504, 7bff",
    "65519, 7bff",
    "65520, 7c00",
    "-1e10, fc00",
    "5.9604645e-8, 0001",
    "2.9802322e-8, 0000",
    "2.98024e-8, 0001",
    "6.1035156e-5, 0400",
    "6.1e-5, 03ff",
    "1.00048828125, 3c00",
    "1.00146484375, 3c02",
    "-0.0, 8000"
  })
  void halvesRoundToNearestAndTiesToEven(float value, String bits) {
    assertThat(HalfFloats.toF16(value)).isEqualTo((short) Integer.parseInt(bits, 16));
  }

  @ParameterizedTest
  @CsvSource({
    "1, 3f80",
    "-2, c000",
    "1.00390625, 3f80",
    "1.01171875, 3f82",
    "1.0040, 3f81",
    "3.4028235e38, 7f80",
    "-0.0, 8000"
  })
  void bfloatsRoundToNearestAndTiesToEven(float value, String bits) {
    assertThat(HalfFloats.toBf16(value)).isEqualTo((short) Integer.parseInt(bits, 16));
  }

  @Test
  void aNanStaysOneWhateverItsPayload() {
    float nan = Float.intBitsToFloat(0x7f800001);
    assertThat(HalfFloats.fromBf16(HalfFloats.toBf16(nan))).isNaN();
    assertThat(HalfFloats.fromF16(HalfFloats.toF16(nan))).isNaN();
  }
}
