package io.llara.retrieval;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.domain.JavaClasses;
import io.llara.Internal;
import io.llara.testing.HouseRules;
import io.llara.testing.VisibleTypes;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  private static final JavaClasses MAIN = HouseRules.mainClassesBeside(Document.class);

  private static final VisibleTypes VISIBLE =
      new VisibleTypes(declaration -> declaration.isAnnotatedWith(Internal.class));

  @Test
  void packagesHaveNoCircles() {
    slices().matching("io.llara.(**)").should().beFreeOfCycles().check(MAIN);
  }

  @Test
  void searchingDoesNotKnowEvaluation() {
    noClasses()
        .that()
        .resideInAPackage("io.llara.retrieval")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("io.llara.retrieval.eval..")
        .check(MAIN);
  }

  @Test
  void noNativeTypeShowsInASignatureThatUsersSee() {
    classes()
        .that(VISIBLE.areVisible())
        .should(VISIBLE.showNoTypeOf("org.bytedeco..", "ai.djl..", "org.apache.lucene.."))
        .check(MAIN);
  }

  @Test
  void rulesOfTheHouse() {
    HouseRules.check(MAIN);
  }
}
