package io.llara.testing;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaField;
import com.tngtech.archunit.core.domain.JavaMember;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.domain.JavaType;
import com.tngtech.archunit.core.domain.properties.CanBeAnnotated;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Stream;

/** Rules about the types that a user sees in signatures. */
public final class VisibleTypes {
  private final Predicate<CanBeAnnotated> exempt;

  /**
   * Makes rules.
   *
   * @param exempt which public declarations are not for users all the same
   */
  public VisibleTypes(Predicate<CanBeAnnotated> exempt) {
    this.exempt = exempt;
  }

  /** Classes that users see: they and what encloses them. */
  public DescribedPredicate<JavaClass> areVisible() {
    return DescribedPredicate.describe(
        "are visible to users",
        type -> isVisible(type) && type.getEnclosingClass().map(this::isVisible).orElse(true));
  }

  private boolean isVisible(JavaClass type) {
    return isVisible(type.getModifiers(), type);
  }

  private boolean isVisible(Set<JavaModifier> modifiers, CanBeAnnotated declaration) {
    return (modifiers.contains(JavaModifier.PUBLIC) || modifiers.contains(JavaModifier.PROTECTED))
        && !exempt.test(declaration);
  }

  /** No supertype, and no type in the signature of a visible member, is of these packages. */
  public ArchCondition<JavaClass> showNoTypeOf(String... packages) {
    DescribedPredicate<JavaClass> forbidden = JavaClass.Predicates.resideInAnyPackage(packages);
    return new ArchCondition<>("show no type of " + String.join(", ", packages)) {
      @Override
      public void check(JavaClass type, ConditionEvents events) {
        Stream<JavaClass> supertypes =
            Stream.concat(
                type.getAllRawSuperclasses().stream(), type.getAllRawInterfaces().stream());
        report(type, "extends", supertypes, events);
        for (JavaMember member : type.getMembers()) {
          if (isVisible(member.getModifiers(), member)) {
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
