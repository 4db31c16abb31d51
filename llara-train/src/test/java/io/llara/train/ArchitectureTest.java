package io.llara.train;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.domain.JavaClasses;
import io.llara.Internal;
import io.llara.testing.HouseRules;
import io.llara.testing.VisibleTypes;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  private static final JavaClasses MAIN = HouseRules.mainClassesBeside(TrainingResult.class);

  private static final VisibleTypes VISIBLE =
      new VisibleTypes(declaration -> declaration.isAnnotatedWith(Internal.class));

  private static final String[] NATIVE = {"org.bytedeco..", "ai.djl.."};

  /** What users see, except for what is marked as internal. */
  private static final String[] FACE = {
    "io.llara.train",
    "io.llara.train.checkpoint",
    "io.llara.train.contrastive",
    "io.llara.train.data",
    "io.llara.train.lora",
    "io.llara.train.mining",
    "io.llara.train.pairs",
    "io.llara.train.preset",
    "io.llara.train.pretrain",
    "io.llara.train.run",
    "io.llara.train.teacher"
  };

  @Test
  void packagesHaveNoCircles() {
    slices().matching("io.llara.train.(*)..").should().beFreeOfCycles().check(MAIN);
  }

  @Test
  void importsRunDownwards() {
    layeredArchitecture()
        .consideringOnlyDependenciesInAnyPackage("io.llara.train..")
        .layer("presets")
        .definedBy("io.llara.train.preset..")
        .layer("objectives")
        .definedBy("io.llara.train.contrastive..", "io.llara.train.pretrain..")
        .layer("tools")
        .definedBy("io.llara.train.mining..", "io.llara.train.pairs..", "io.llara.train.teacher..")
        .layer("loop")
        .definedBy("io.llara.train.run..")
        .layer("model")
        .definedBy("io.llara.train.model..")
        .layer("parts")
        .definedBy(
            "io.llara.train.autograd..",
            "io.llara.train.checkpoint..",
            "io.llara.train.data..",
            "io.llara.train.distributed..",
            "io.llara.train.lora..",
            "io.llara.train.optim..")
        .layer("vocabulary")
        .definedBy("io.llara.train")
        .whereLayer("presets")
        .mayNotBeAccessedByAnyLayer()
        .whereLayer("objectives")
        .mayOnlyBeAccessedByLayers("presets")
        .whereLayer("tools")
        .mayOnlyBeAccessedByLayers("objectives")
        .whereLayer("loop")
        .mayOnlyBeAccessedByLayers("presets", "objectives")
        .whereLayer("model")
        .mayOnlyBeAccessedByLayers("objectives", "loop")
        .whereLayer("vocabulary")
        .mayOnlyBeAccessedByLayers("objectives", "tools", "loop", "parts")
        .check(MAIN);
  }

  @Test
  void theRootKnowsNoSubPackage() {
    noClasses()
        .that()
        .resideInAPackage("io.llara.train")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("io.llara.train.*..")
        .check(MAIN);
  }

  @Test
  void dataIsReadWithoutNativeCode() {
    noClasses()
        .that()
        .resideInAnyPackage("io.llara.train", "io.llara.train.data..")
        .should()
        .dependOnClassesThat(
            resideInAPackage("org.bytedeco..").or(resideInAPackage("io.llara.tensor..")))
        .check(MAIN);
  }

  @Test
  void theTokenizersLibraryIsUsedThroughItsFace() {
    noClasses().should().dependOnClassesThat().resideInAPackage("ai.djl..").check(MAIN);
  }

  @Test
  void noNativeTypeShowsInASignatureThatUsersSee() {
    classes()
        .that()
        .resideInAnyPackage(FACE)
        .and(VISIBLE.areVisible())
        .should(VISIBLE.showNoTypeOf(NATIVE))
        .check(MAIN);
  }

  @Test
  void rulesOfTheHouse() {
    // Steps for checks are given all that decides their numbers.
    HouseRules.check(MAIN, "ContrastiveSteps");
  }
}
