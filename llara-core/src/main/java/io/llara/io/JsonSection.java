package io.llara.io;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.BiFunction;

/**
 * A JSON object of a known file, read by key and expected type. A null is as good as an absent key.
 * Every error names the file, the key with its path, what was found and what was expected.
 */
public final class JsonSection {
  private final Path file;
  private final String prefix;
  private final JsonObject object;

  JsonSection(Path file, String prefix, JsonObject object) {
    this.file = file;
    this.prefix = prefix;
    this.object = object;
  }

  public Path file() {
    return file;
  }

  public JsonObject json() {
    return object;
  }

  public Set<String> keys() {
    return object.keySet();
  }

  /** Returns whether the key is there with a value other than null. */
  public boolean has(String key) {
    JsonElement value = object.get(key);
    return value != null && !value.isJsonNull();
  }

  /** Returns whether the key is there, be it with null. */
  public boolean mentions(String key) {
    return object.has(key);
  }

  public Optional<Integer> integer(String key) {
    return value(key, this::toInt);
  }

  public OptionalInt optionalInt(String key) {
    Optional<Integer> value = integer(key);
    return value.isPresent() ? OptionalInt.of(value.get()) : OptionalInt.empty();
  }

  public int requiredInt(String key) {
    return integer(key).orElseThrow(() -> missing(key, "a whole number"));
  }

  public Optional<Double> number(String key) {
    return value(key, this::toDouble);
  }

  public double requiredNumber(String key) {
    return number(key).orElseThrow(() -> missing(key, "a number"));
  }

  public Optional<Boolean> bool(String key) {
    return value(
        key,
        (path, value) -> {
          if (value instanceof JsonPrimitive primitive && primitive.isBoolean()) {
            return primitive.getAsBoolean();
          }
          throw wrongType(path, value, "true or false");
        });
  }

  public Optional<String> string(String key) {
    return value(key, this::toText);
  }

  public Optional<JsonSection> section(String key) {
    return value(
        key,
        (path, value) -> {
          if (value.isJsonObject()) {
            return new JsonSection(file, path + ".", value.getAsJsonObject());
          }
          throw wrongType(path, value, "an object");
        });
  }

  public Optional<List<String>> strings(String key) {
    return value(key, (path, value) -> list(path, value, this::toText));
  }

  /** Reads one whole number or a list of them; absent is an empty list. */
  public List<Integer> integers(String key) {
    return value(
            key,
            (path, value) ->
                value.isJsonArray() ? list(path, value, this::toInt) : List.of(toInt(path, value)))
        .orElse(List.of());
  }

  /** Reads the values of this object as strings, in file order. */
  public Map<String, String> allStrings() {
    return all(this::toText);
  }

  /** Reads the values of this object as numbers, in file order. */
  public Map<String, Double> allNumbers() {
    return all(this::toDouble);
  }

  /** Reads the values of this object as whole numbers, in file order. */
  public Map<String, Integer> allIntegers() {
    return all(this::toInt);
  }

  public boolean isString(String key) {
    return object.get(key) instanceof JsonPrimitive primitive && primitive.isString();
  }

  public void refuseUnknownKeys(Set<String> known) {
    for (String key : object.keySet()) {
      if (!known.contains(key)) {
        throw new ModelLoadException(
            "%s: unknown key %s; known here: %s"
                .formatted(file, Messages.quote(prefix + key), String.join(", ", known)));
      }
    }
  }

  public ModelLoadException missing(String key, String expected) {
    return new ModelLoadException(
        "%s: key %s is missing; expected %s"
            .formatted(file, Messages.quote(prefix + key), expected));
  }

  /** Returns an error about a key whose value is of the right type and still wrong. */
  public ModelLoadException invalid(String key, String found, String expected) {
    return new ModelLoadException(
        "%s: key %s is %s; expected %s"
            .formatted(file, Messages.quote(prefix + key), found, expected));
  }

  /** Returns an error about a key that asks for something not supported. */
  public UnsupportedModelException unsupported(String key, String found, String supported) {
    return new UnsupportedModelException(
        "%s: key %s is %s, which is not supported; supported: %s"
            .formatted(file, Messages.quote(prefix + key), found, supported));
  }

  /** Describes the value of a key for a message. */
  public String describe(String key) {
    JsonElement value = object.get(key);
    return value == null ? "absent" : describe(value);
  }

  public static String kind(JsonElement value) {
    if (value.isJsonObject()) {
      return "an object";
    }
    if (value.isJsonArray()) {
      return "a list";
    }
    return value.isJsonNull() ? "null" : describe(value);
  }

  private static String describe(JsonElement value) {
    if (value instanceof JsonPrimitive primitive) {
      return primitive.isString()
          ? "the string " + Messages.quote(primitive.getAsString())
          : primitive.getAsString();
    }
    return kind(value);
  }

  private <T> Optional<T> value(String key, BiFunction<String, JsonElement, T> reader) {
    JsonElement value = object.get(key);
    return value == null || value.isJsonNull()
        ? Optional.empty()
        : Optional.of(reader.apply(prefix + key, value));
  }

  private <T> List<T> list(
      String path, JsonElement value, BiFunction<String, JsonElement, T> reader) {
    if (!value.isJsonArray()) {
      throw wrongType(path, value, "a list");
    }
    List<T> list = new ArrayList<>();
    for (JsonElement item : value.getAsJsonArray()) {
      list.add(reader.apply(path + "[" + list.size() + "]", item));
    }
    return List.copyOf(list);
  }

  private <T> Map<String, T> all(BiFunction<String, JsonElement, T> reader) {
    Map<String, T> values = new LinkedHashMap<>();
    object
        .entrySet()
        .forEach(
            entry ->
                values.put(
                    entry.getKey(), reader.apply(prefix + entry.getKey(), entry.getValue())));
    return values;
  }

  private String toText(String path, JsonElement value) {
    if (value instanceof JsonPrimitive primitive && primitive.isString()) {
      return primitive.getAsString();
    }
    throw wrongType(path, value, "a string");
  }

  private int toInt(String path, JsonElement value) {
    // The parser makes a Long of whole numbers only.
    if (value instanceof JsonPrimitive primitive
        && primitive.isNumber()
        && primitive.getAsNumber() instanceof Long number
        && number == number.intValue()) {
      return number.intValue();
    }
    throw wrongType(path, value, "a whole number of 32 bits");
  }

  private double toDouble(String path, JsonElement value) {
    if (value instanceof JsonPrimitive primitive
        && primitive.isNumber()
        && Double.isFinite(primitive.getAsDouble())) {
      return primitive.getAsDouble();
    }
    throw wrongType(path, value, "a finite number");
  }

  private ModelLoadException wrongType(String path, JsonElement value, String expected) {
    return new ModelLoadException(
        "%s: key %s is %s; expected %s"
            .formatted(file, Messages.quote(path), describe(value), expected));
  }
}
