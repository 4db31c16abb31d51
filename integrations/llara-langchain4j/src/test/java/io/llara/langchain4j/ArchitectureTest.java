package io.llara.langchain4j;

import io.llara.testing.HouseRules;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  @Test
  void rulesOfTheHouse() {
    HouseRules.check(HouseRules.mainClassesBeside(LlaraEmbeddingModel.class));
  }
}
