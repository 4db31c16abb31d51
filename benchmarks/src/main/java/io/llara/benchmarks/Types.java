package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.tensor.Cpu;
import java.util.List;
import java.util.Locale;

/** Compute types by the names that options use: {@code float32}, {@code bfloat16}, {@code int8}. */
final class Types {
  private Types() {}

  static ComputeType parse(String name) {
    return switch (name) {
      case "float32" -> ComputeType.FLOAT32;
      case "bfloat16" -> ComputeType.BFLOAT16;
      case "int8" -> ComputeType.INT8;
      case "float16" -> ComputeType.FLOAT16;
      case "float8" -> ComputeType.FLOAT8;
      default ->
          throw new IllegalArgumentException(
              "type is \"" + name + "\"; expected float32, bfloat16, int8, float16 or float8");
    };
  }

  static String name(ComputeType type) {
    return type.name().toLowerCase(Locale.ROOT);
  }

  /** Returns the types that this processor multiplies natively. */
  static List<ComputeType> multipliedNatively() {
    return Cpu.multipliesBfloat16()
        ? List.of(ComputeType.FLOAT32, ComputeType.BFLOAT16)
        : List.of(ComputeType.FLOAT32);
  }
}
