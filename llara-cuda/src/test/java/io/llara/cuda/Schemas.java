package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import org.bytedeco.pytorch.Argument;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.IValue;

/** What libtorch's dispatcher says of its operators' arguments. */
final class Schemas {
  private Schemas() {}

  /** Fails unless an operator takes arguments of these types and no others. */
  static void assertTakes(String operator, IValue... values) {
    Argument declared = Dispatcher.singleton().findSchemaOrThrow(operator, "").schema().arguments();
    assertThat(declared.capacity()).as(operator).isEqualTo(values.length);
    for (int i = 0; i < values.length; i++) {
      Argument argument = declared.getPointer(i);
      String type = argument.type().get().str().getString();
      assertThat(fits(values[i], type))
          .as("%s of %s is a %s", argument.name().getString(), operator, type)
          .isTrue();
    }
  }

  private static boolean fits(IValue value, String type) {
    if (value.isNone()) {
      return type.endsWith("?");
    }
    return switch (type.replace("?", "")) {
      case "Tensor" -> value.isTensor();
      case "int", "SymInt" -> value.isInt();
      case "float" -> value.isDouble();
      case "bool" -> value.isBool();
      default -> false;
    };
  }
}
