package io.llara.server;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;

import com.tngtech.archunit.core.domain.JavaClasses;
import io.llara.testing.HouseRules;
import io.llara.testing.VisibleTypes;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  private static final JavaClasses MAIN = HouseRules.mainClassesBeside(LlaraServer.class);

  private static final VisibleTypes VISIBLE = new VisibleTypes(declaration -> false);

  @Test
  void noTypeOfTheHttpServerShowsInASignatureThatUsersSee() {
    classes()
        .that(VISIBLE.areVisible())
        .should(VISIBLE.showNoTypeOf("org.eclipse.jetty..", "com.google.gson.."))
        .check(MAIN);
  }

  @Test
  void rulesOfTheHouse() {
    HouseRules.check(MAIN);
  }
}
