package io.llara.testing;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.methods;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noFields;
import static com.tngtech.archunit.library.GeneralCodingRules.NO_CLASSES_SHOULD_ACCESS_STANDARD_STREAMS;
import static com.tngtech.archunit.library.GeneralCodingRules.NO_CLASSES_SHOULD_USE_JAVA_UTIL_LOGGING;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaMethod;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.util.Set;

/** The rules that hold in every library module. */
public final class HouseRules {
  private static final int MOST_PARAMETERS = 5;
  private static final int MOST_COMPONENTS = 7;

  private HouseRules() {}

  /** Returns the main classes of the module that a class belongs to. */
  public static JavaClasses mainClassesBeside(Class<?> type) {
    return new ClassFileImporter()
        .importUrl(type.getProtectionDomain().getCodeSource().getLocation());
  }

  /**
   * Checks all of these rules.
   *
   * @param exempt the simple names of classes that are allowed longer signatures, each with its
   *     reason at the call
   */
  public static void check(JavaClasses main, String... exempt) {
    nothingPrints(main);
    nothingEndsTheProcess(main);
    signaturesAreShort(main, Set.of(exempt));
    nativeObjectsAreNotStatic(main);
  }

  /** A library never prints: it logs by SLF4J. */
  public static void nothingPrints(JavaClasses main) {
    NO_CLASSES_SHOULD_ACCESS_STANDARD_STREAMS.check(main);
    NO_CLASSES_SHOULD_USE_JAVA_UTIL_LOGGING.check(main);
  }

  /** A library never ends the process. */
  public static void nothingEndsTheProcess(JavaClasses main) {
    noClasses().should().callMethod(System.class, "exit", int.class).check(main);
    noClasses().should().callMethod(Runtime.class, "exit", int.class).check(main);
    noClasses().should().callMethod(Runtime.class, "halt", int.class).check(main);
  }

  /**
   * Methods have at most five parameters and records at most seven components. Native methods are
   * exempt: they take a C function's arguments.
   */
  public static void signaturesAreShort(JavaClasses main, Set<String> exempt) {
    methods()
        .that()
        .doNotHaveModifier(JavaModifier.SYNTHETIC)
        .and()
        .doNotHaveModifier(JavaModifier.NATIVE)
        .should(haveAtMostFiveParameters(exempt))
        .check(main);
    classes().should(haveAtMostSevenComponents(exempt)).check(main);
  }

  /** A class is initialised within whatever scope is open then, which would free the object. */
  public static void nativeObjectsAreNotStatic(JavaClasses main) {
    noFields()
        .that()
        .areStatic()
        .should()
        .haveRawType(JavaClass.Predicates.assignableTo("org.bytedeco.javacpp.Pointer"))
        .allowEmptyShould(true)
        .check(main);
  }

  private static ArchCondition<JavaMethod> haveAtMostFiveParameters(Set<String> exempt) {
    return new ArchCondition<>("have at most " + MOST_PARAMETERS + " parameters") {
      @Override
      public void check(JavaMethod method, ConditionEvents events) {
        int count = method.getRawParameterTypes().size();
        if (count > MOST_PARAMETERS && !exempt.contains(method.getOwner().getSimpleName())) {
          events.add(SimpleConditionEvent.violated(method, method.getFullName() + " has " + count));
        }
      }
    };
  }

  private static ArchCondition<JavaClass> haveAtMostSevenComponents(Set<String> exempt) {
    return new ArchCondition<>("have at most " + MOST_COMPONENTS + " record components") {
      @Override
      public void check(JavaClass type, ConditionEvents events) {
        long count =
            type.isRecord()
                ? type.getFields().stream()
                    .filter(field -> !field.getModifiers().contains(JavaModifier.STATIC))
                    .count()
                : 0;
        if (count > MOST_COMPONENTS && !exempt.contains(type.getSimpleName())) {
          events.add(SimpleConditionEvent.violated(type, type.getFullName() + " has " + count));
        }
      }
    };
  }
}
