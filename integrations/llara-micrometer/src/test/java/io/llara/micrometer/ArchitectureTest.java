package io.llara.micrometer;

import io.llara.testing.HouseRules;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  @Test
  void rulesOfTheHouse() {
    HouseRules.check(HouseRules.mainClassesBeside(EncoderMeters.class));
  }
}
