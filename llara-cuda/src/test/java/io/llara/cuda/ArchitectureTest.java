package io.llara.cuda;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;

import com.tngtech.archunit.core.domain.JavaClasses;
import io.llara.testing.HouseRules;
import java.util.Set;
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
  void nothingPrints() {
    HouseRules.nothingPrints(MAIN);
  }

  @Test
  void nothingEndsTheProcess() {
    HouseRules.nothingEndsTheProcess(MAIN);
  }

  @Test
  void signaturesAreShort() {
    HouseRules.signaturesAreShort(MAIN, Set.of());
  }
}
