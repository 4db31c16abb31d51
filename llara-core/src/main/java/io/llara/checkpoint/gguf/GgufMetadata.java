package io.llara.checkpoint.gguf;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.Messages;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The metadata of a GGUF file, read by key and expected type. Every error names the file, the key,
 * what was found and what was expected.
 *
 * <p>Values are {@link Long} (all integers), {@link Float}, {@link Double}, {@link Boolean}, {@link
 * String}, {@link Numbers}, or a list of strings.
 */
record GgufMetadata(Path file, Map<String, Object> values) {

  /** An array of numbers, as it lies in the file. */
  record Numbers(GgufValueType type, int count, ByteBuffer bytes) {}

  Set<String> keys() {
    return values.keySet();
  }

  boolean has(String key) {
    return values.containsKey(key);
  }

  Optional<String> string(String key) {
    return value(key, "a string", value -> value instanceof String text ? text : null);
  }

  String requiredString(String key) {
    return string(key).orElseThrow(() -> missing(key, "a string"));
  }

  Optional<Integer> integer(String key) {
    return value(
        key,
        "a whole number from 0 to 2147483647",
        value ->
            value instanceof Long number && number >= 0 && number <= Integer.MAX_VALUE
                ? number.intValue()
                : null);
  }

  int requiredInteger(String key) {
    return integer(key).orElseThrow(() -> missing(key, "a whole number"));
  }

  /**
   * Reads a number; single precision is taken for the shortest decimal number that it stands for.
   */
  Optional<Double> number(String key) {
    return value(
        key,
        "a finite number",
        value -> {
          if (value instanceof Float number) {
            return Float.isFinite(number) ? Double.valueOf(number.toString()) : null;
          }
          return value instanceof Number number && Double.isFinite(number.doubleValue())
              ? Double.valueOf(number.doubleValue())
              : null;
        });
  }

  Optional<Boolean> bool(String key) {
    return value(key, "true or false", value -> value instanceof Boolean flag ? flag : null);
  }

  Optional<List<String>> strings(String key) {
    return value(
        key,
        "an array of strings",
        value ->
            value instanceof List<?> list ? list.stream().map(String.class::cast).toList() : null);
  }

  Optional<float[]> floats(String key) {
    return value(
        key,
        "an array of numbers",
        value -> {
          if (!(value instanceof Numbers numbers) || numbers.type() == GgufValueType.BOOL) {
            return null;
          }
          float[] array = new float[numbers.count()];
          for (int i = 0; i < array.length; i++) {
            array[i] = numbers.type().number(numbers.bytes(), i).floatValue();
          }
          return array;
        });
  }

  Optional<int[]> integers(String key) {
    return value(
        key,
        "an array of whole numbers",
        value -> {
          if (!(value instanceof Numbers numbers) || !numbers.type().isInteger()) {
            return null;
          }
          int[] array = new int[numbers.count()];
          for (int i = 0; i < array.length; i++) {
            long number = numbers.type().number(numbers.bytes(), i).longValue();
            if (number != (int) number) {
              return null;
            }
            array[i] = (int) number;
          }
          return array;
        });
  }

  ModelLoadException missing(String key, String expected) {
    return new ModelLoadException(
        "%s: metadata key %s is missing; expected %s"
            .formatted(file, Messages.quote(key), expected));
  }

  /** Returns an error about a key whose value is of the right type and still wrong. */
  ModelLoadException invalid(String key, String found, String expected) {
    return new ModelLoadException(
        "%s: metadata key %s is %s; expected %s"
            .formatted(file, Messages.quote(key), found, expected));
  }

  /** Returns an error about a key that asks for something not supported. */
  UnsupportedModelException unsupported(String key, String found, String supported) {
    return new UnsupportedModelException(
        "%s: metadata key %s is %s, which is not supported; supported: %s"
            .formatted(file, Messages.quote(key), found, supported));
  }

  /** Describes the value of a key for a message. */
  String describe(String key) {
    return describe(values.get(key));
  }

  private static String describe(@Nullable Object value) {
    if (value == null) {
      return "absent";
    }
    if (value instanceof String text) {
      return "the string " + Messages.quote(text);
    }
    if (value instanceof Numbers numbers) {
      return "an array of %d values of type %s".formatted(numbers.count(), numbers.type());
    }
    return value instanceof List<?> list
        ? "an array of %d strings".formatted(list.size())
        : value.toString();
  }

  private <T> Optional<T> value(
      String key, String expected, Function<Object, @Nullable T> conversion) {
    Object value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    T converted = conversion.apply(value);
    if (converted == null) {
      throw invalid(key, describe(value), expected);
    }
    return Optional.of(converted);
  }
}
