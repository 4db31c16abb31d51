package io.llara;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.properties.HasName.Predicates.nameMatching;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.GeneralCodingRules.NO_CLASSES_SHOULD_ACCESS_STANDARD_STREAMS;
import static com.tngtech.archunit.library.GeneralCodingRules.NO_CLASSES_SHOULD_USE_JAVA_UTIL_LOGGING;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaField;
import com.tngtech.archunit.core.domain.JavaMember;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.domain.JavaType;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  private static final JavaClasses MAIN =
      new ClassFileImporter()
          .importUrl(Encoder.class.getProtectionDomain().getCodeSource().getLocation());

  private static final String[] NATIVE = {"org.bytedeco..", "ai.djl.."};

  /** What users see. */
  private static final String[] FACE = {
    "io.llara", "io.llara.prompt", "io.llara.attention", "io.llara.checkpoint", "io.llara.tokenize"
  };

  @Test
  void packagesHaveNoCircles() {
    slices().matching("io.llara.(*)..").should().beFreeOfCycles().check(MAIN);
  }

  @Test
  void subPackagesUseOnlyTheVocabularyOfTheRoot() {
    DescribedPredicate<JavaClass> vocabulary =
        nameMatching("io\\.llara\\.(Mode|ComputeType|Internal|\\w*Exception)").forSubtype();
    noClasses()
        .that()
        .resideInAPackage("io.llara.*..")
        .should()
        .dependOnClassesThat(resideInAPackage("io.llara").and(DescribedPredicate.not(vocabulary)))
        .check(MAIN);
  }

  @Test
  void libtorchIsUsedBelowTheEncoderOnly() {
    noClasses()
        .that()
        .resideOutsideOfPackages(
            "io.llara.engine..", "io.llara.model..", "io.llara.spi..", "io.llara.tensor..")
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
        .and(visible())
        .should(showNoTypeOf(NATIVE))
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
            "io.llara.engine..", "io.llara.model..", "io.llara.spi..", "io.llara.tensor..")
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

  private static DescribedPredicate<JavaClass> visible() {
    return DescribedPredicate.describe(
        "are visible to users",
        type ->
            isVisible(type)
                && type.getEnclosingClass().map(ArchitectureTest::isVisible).orElse(true));
  }

  private static boolean isVisible(JavaClass type) {
    return type.getModifiers().contains(JavaModifier.PUBLIC)
        || type.getModifiers().contains(JavaModifier.PROTECTED);
  }

  private static ArchCondition<JavaClass> showNoTypeOf(String... packages) {
    DescribedPredicate<JavaClass> forbidden = resideInAnyPackage(packages);
    return new ArchCondition<>("show no type of " + String.join(", ", packages)) {
      @Override
      public void check(JavaClass type, ConditionEvents events) {
        Stream<JavaClass> supertypes =
            Stream.concat(
                type.getAllRawSuperclasses().stream(), type.getAllRawInterfaces().stream());
        report(type, "extends", supertypes, events);
        for (JavaMember member : type.getMembers()) {
          if (member.getModifiers().contains(JavaModifier.PUBLIC)
              || member.getModifiers().contains(JavaModifier.PROTECTED)) {
            report(type, member.getFullName() + " shows", types(member), events);
          }
        }
      }

      private void report(
          JavaClass type, String how, Stream<JavaClass> shown, ConditionEvents events) {
        shown
            .filter(forbidden)
            .forEach(
                bad -> events.add(SimpleConditionEvent.violated(type, how + " " + bad.getName())));
      }
    };
  }

  private static Stream<JavaClass> types(JavaMember member) {
    if (member instanceof JavaField field) {
      return field.getType().getAllInvolvedRawTypes().stream();
    }
    JavaCodeUnit unit = (JavaCodeUnit) member;
    Stream<JavaType> signature =
        Stream.concat(Stream.of(unit.getReturnType()), unit.getParameterTypes().stream());
    return Stream.concat(
        signature.flatMap(type -> type.getAllInvolvedRawTypes().stream()),
        unit.getExceptionTypes().stream());
  }
}
