package io.llara.train;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;
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
import com.tngtech.archunit.core.domain.properties.CanBeAnnotated;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import io.llara.Internal;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The rules of the house that a compiler does not check. */
class ArchitectureTest {
  private static final JavaClasses MAIN =
      new ClassFileImporter()
          .importUrl(TrainingResult.class.getProtectionDomain().getCodeSource().getLocation());

  private static final String[] NATIVE = {"org.bytedeco..", "ai.djl.."};

  /** What users see, except for what is marked as internal. */
  private static final String[] FACE = {
    "io.llara.train",
    "io.llara.train.checkpoint",
    "io.llara.train.data",
    "io.llara.train.lora",
    "io.llara.train.pretrain",
    "io.llara.train.report"
  };

  @Test
  void packagesHaveNoCircles() {
    slices().matching("io.llara.train.(*)..").should().beFreeOfCycles().check(MAIN);
  }

  @Test
  void importsRunDownwards() {
    layeredArchitecture()
        .consideringOnlyDependenciesInAnyPackage("io.llara.train..")
        .layer("objectives")
        .definedBy("io.llara.train.pretrain..")
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
            "io.llara.train.optim..",
            "io.llara.train.report..")
        .layer("vocabulary")
        .definedBy("io.llara.train")
        .whereLayer("objectives")
        .mayNotBeAccessedByAnyLayer()
        .whereLayer("loop")
        .mayOnlyBeAccessedByLayers("objectives")
        .whereLayer("model")
        .mayOnlyBeAccessedByLayers("objectives", "loop")
        .whereLayer("vocabulary")
        .mayOnlyBeAccessedByLayers("objectives", "loop", "parts")
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
        .resideInAnyPackage("io.llara.train", "io.llara.train.data..", "io.llara.train.report..")
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
  void chartsAreDrawnInOnePlace() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.llara.train.report..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.knowm..")
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
    return isPublic(type.getModifiers().contains(JavaModifier.PUBLIC), type)
        || isPublic(type.getModifiers().contains(JavaModifier.PROTECTED), type);
  }

  private static boolean isPublic(boolean open, CanBeAnnotated declaration) {
    return open && !declaration.isAnnotatedWith(Internal.class);
  }

  private static boolean isVisible(JavaMember member) {
    return isPublic(member.getModifiers().contains(JavaModifier.PUBLIC), member)
        || isPublic(member.getModifiers().contains(JavaModifier.PROTECTED), member);
  }

  private static ArchCondition<JavaClass> showNoTypeOf(String... packages) {
    DescribedPredicate<JavaClass> forbidden = JavaClass.Predicates.resideInAnyPackage(packages);
    return new ArchCondition<>("show no type of " + String.join(", ", packages)) {
      @Override
      public void check(JavaClass type, ConditionEvents events) {
        Stream<JavaClass> supertypes =
            Stream.concat(
                type.getAllRawSuperclasses().stream(), type.getAllRawInterfaces().stream());
        report(type, "extends", supertypes, events);
        for (JavaMember member : type.getMembers()) {
          if (isVisible(member)) {
            report(type, member.getFullName() + " shows", types(member).stream(), events);
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

  private static List<JavaClass> types(JavaMember member) {
    if (member instanceof JavaField field) {
      return List.copyOf(field.getType().getAllInvolvedRawTypes());
    }
    JavaCodeUnit unit = (JavaCodeUnit) member;
    Stream<JavaType> signature =
        Stream.concat(Stream.of(unit.getReturnType()), unit.getParameterTypes().stream());
    return Stream.concat(
            signature.flatMap(type -> type.getAllInvolvedRawTypes().stream()),
            unit.getExceptionTypes().stream())
        .toList();
  }
}
