package io.llara.retrieval;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.GeneralCodingRules.NO_CLASSES_SHOULD_ACCESS_STANDARD_STREAMS;
import static com.tngtech.archunit.library.GeneralCodingRules.NO_CLASSES_SHOULD_USE_JAVA_UTIL_LOGGING;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import io.llara.Internal;
import io.llara.testing.VisibleTypes;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  private static final JavaClasses MAIN =
      new ClassFileImporter()
          .importUrl(Document.class.getProtectionDomain().getCodeSource().getLocation());

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
  void nothingPrints() {
    NO_CLASSES_SHOULD_ACCESS_STANDARD_STREAMS.check(MAIN);
    NO_CLASSES_SHOULD_USE_JAVA_UTIL_LOGGING.check(MAIN);
  }

  @Test
  void nothingEndsTheProcess() {
    noClasses().should().callMethod(System.class, "exit", int.class).check(MAIN);
    noClasses().should().callMethod(Runtime.class, "exit", int.class).check(MAIN);
    noClasses().should().callMethod(Runtime.class, "halt", int.class).check(MAIN);
  }
}
