package io.llara;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.properties.HasName.Predicates.nameMatching;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.library.dependencies.SliceAssignment;
import com.tngtech.archunit.library.dependencies.SliceIdentifier;
import io.llara.testing.HouseRules;
import io.llara.testing.VisibleTypes;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  private static final JavaClasses MAIN = HouseRules.mainClassesBeside(Encoder.class);

  private static final VisibleTypes VISIBLE = new VisibleTypes(declaration -> false);

  private static final String[] NATIVE = {"org.bytedeco..", "ai.djl.."};

  /** What users see. */
  private static final String[] FACE = {
    "io.llara", "io.llara.prompt", "io.llara.attention", "io.llara.checkpoint", "io.llara.tokenize"
  };

  /** What the root holds for all packages, beside the face that knows them. */
  private static final DescribedPredicate<JavaClass> VOCABULARY =
      nameMatching("io\\.llara\\.(Mode|TextModes|ComputeType|Internal|\\w*Exception)(\\$.*)?")
          .forSubtype();

  /** From the bottom up: a package may use those before it. */
  private static final List<String> LAYERS =
      List.of(
          "io.llara.io..",
          "io.llara.tensor..",
          "io.llara.tokenize..",
          "io.llara.prompt..",
          "io.llara.attention..",
          "io.llara.checkpoint..",
          "io.llara.hub..",
          "io.llara.kernels..",
          "io.llara.model..",
          "io.llara.engine..");

  /**
   * Among packages there is no circle but one: the root is both the face, which uses the engine,
   * and the vocabulary that all packages speak, so that users import {@code Encoder}, {@code Mode}
   * and the exceptions from one place. Taken as two, they are in no circle either.
   */
  @Test
  void packagesHaveNoCircles() {
    slices()
        .assignedFrom(
            new SliceAssignment() {
              @Override
              public SliceIdentifier getIdentifierOf(JavaClass type) {
                return SliceIdentifier.of(
                    VOCABULARY.test(type) ? "vocabulary" : type.getPackageName());
              }

              @Override
              public String getDescription() {
                return "packages and the root's vocabulary";
              }
            })
        .should()
        .beFreeOfCycles()
        .check(MAIN);
  }

  @Test
  void subPackagesUseOnlyTheVocabularyOfTheRoot() {
    noClasses()
        .that()
        .resideInAPackage("io.llara.*..")
        .should()
        .dependOnClassesThat(resideInAPackage("io.llara").and(DescribedPredicate.not(VOCABULARY)))
        .check(MAIN);
  }

  @Test
  void importsRunDownwards() {
    for (int i = 0; i < LAYERS.size() - 1; i++) {
      noClasses()
          .that()
          .resideInAPackage(LAYERS.get(i))
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(LAYERS.subList(i + 1, LAYERS.size()).toArray(String[]::new))
          .check(MAIN);
    }
  }

  @Test
  void everyPackageIsInALayer() {
    classes()
        .should()
        .resideInAnyPackage(
            Stream.concat(Stream.of("io.llara"), LAYERS.stream()).toArray(String[]::new))
        .check(MAIN);
  }

  @Test
  void libtorchIsUsedBelowTheEncoderOnly() {
    noClasses()
        .that()
        .resideOutsideOfPackages(
            "io.llara.engine..", "io.llara.model..", "io.llara.kernels..", "io.llara.tensor..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.bytedeco..")
        .check(MAIN);
  }

  @Test
  void theTokenizersLibraryIsUsedInOnePlace() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.llara.tokenize..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("ai.djl..")
        .check(MAIN);
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
  void theCheckpointIsReadWithoutTheModel() {
    noClasses()
        .that()
        .resideInAnyPackage("io.llara.checkpoint..", "io.llara.prompt..", "io.llara.attention..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "io.llara.engine..", "io.llara.model..", "io.llara.kernels..", "io.llara.tensor..")
        .check(MAIN);
  }

  @Test
  void rulesOfTheHouse() {
    // The value class of config.json has what config.json has.
    HouseRules.check(MAIN, "LlamaConfig");
  }
}
