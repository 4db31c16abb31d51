package io.llara.spring;

import io.llara.testing.HouseRules;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  @Test
  void rulesOfTheHouse() {
    // Spring binds the properties by name.
    HouseRules.check(HouseRules.mainClassesBeside(LlaraEmbeddingModel.class), "LlaraProperties");
  }
}
