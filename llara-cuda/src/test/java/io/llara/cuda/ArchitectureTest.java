package io.llara.cuda;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;

import com.tngtech.archunit.core.domain.JavaClasses;
import io.llara.testing.HouseRules;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  private static final JavaClasses MAIN = HouseRules.mainClassesBeside(CudaProvider.class);

  @Test
  void onlyWhatIsDiscoveredIsPublic() {
    classes()
        .that()
        .arePublic()
        .should()
        .haveFullyQualifiedName(CudaProvider.class.getName())
        .check(MAIN);
  }

  @Test
  void rulesOfTheHouse() {
    HouseRules.check(MAIN);
  }
}
