package io.llara.spark;

import com.tngtech.archunit.core.domain.JavaClasses;
import io.llara.testing.HouseRules;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  @Test
  void rulesOfTheHouse() {
    JavaClasses main = HouseRules.mainClassesBeside(TextEmbedder.class);
    HouseRules.nothingPrints(main);
    HouseRules.nothingEndsTheProcess(main);
    HouseRules.signaturesAreShort(main, Set.of());
  }
}
