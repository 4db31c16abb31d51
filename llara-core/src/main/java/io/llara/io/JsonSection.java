package io.llara.io;

import com.google.common.primitives.Longs;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/**
 * A JSON object of a file or of a line, read by key and expected type. A null counts as an absent
 * key. Every error names the place, the key with its path, what was found and what was expected.
 */
public final class JsonSection {
  private final String place;
  private final String prefix;
  private final JsonObject object;
  private final Errors errors;

  /** What errors are: those of a model's files have a type of their own. */
  enum Errors {
    MODEL,
    DATA;

    LlaraException error(String message) {
      return this == MODEL ? new ModelLoadException(message) : new LlaraException(message);
    }

    LlaraException error(String message, Throwable cause) {
      return this == MODEL
          ? new ModelLoadException(message, cause)
          : new LlaraException(message, cause);
    }
  }

  JsonSection(String place, String prefix, JsonObject object, Errors errors) {
    this.place = place;
    this.prefix = prefix;
    this.object = object;
    this.errors = errors;
  }

  /** Returns what messages call the file or the line. */
  public String place() {
    return place;
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

  /** Returns whether the key is there, even with null. */
  public boolean mentions(String key) {
    return object.has(key);
  }

  public boolean isString(String key) {
    return object.get(key) instanceof JsonPrimitive primitive && primitive.isString();
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

  public long requiredLong(String key) {
    return value(key, this::toLong).orElseThrow(() -> missing(key, "a whole number"));
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

  public String requiredString(String key) {
    return string(key).orElseThrow(() -> missing(key, "a string"));
  }

  /** Reads a string that holds more than white space. */
  public String requiredText(String key) {
    return value(key, this::toTextNotBlank).orElseThrow(() -> missing(key, "a string"));
  }

  /** Reads a list of strings that each hold more than white space. */
  public Optional<List<String>> texts(String key) {
    return value(key, (path, value) -> list(path, value, this::toTextNotBlank));
  }

  /** Reads a string; of a number or a boolean the spelling. */
  public Optional<String> scalar(String key) {
    return value(
        key,
        (path, value) ->
            value instanceof JsonPrimitive primitive && !primitive.isString()
                ? primitive.getAsString()
                : toText(path, value));
  }

  /**
   * Reads a string whose key must be there; null, as some tools write no text, is the empty one.
   */
  public String requiredOrNull(String key) {
    if (!mentions(key)) {
      throw missing(key, "a string");
    }
    return string(key).orElse("");
  }

  public Optional<JsonSection> section(String key) {
    return value(key, this::toSection);
  }

  public JsonSection requiredSection(String key) {
    return section(key).orElseThrow(() -> missing(key, "an object"));
  }

  /** Reads a list of objects. */
  public Optional<List<JsonSection>> sections(String key) {
    return value(key, (path, value) -> list(path, value, this::toSection));
  }

  public Optional<List<String>> strings(String key) {
    return value(key, (path, value) -> list(path, value, this::toText));
  }

  public Optional<List<Double>> numbers(String key) {
    return value(key, (path, value) -> list(path, value, this::toDouble));
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

  /** Reads the values of this object as whole numbers of 64 bits, in file order. */
  public Map<String, Long> allLongs() {
    return all(this::toLong);
  }

  /** Fails unless the version of a file's format, a whole number, is from 1 to the newest known. */
  public void requireVersion(String key, int newest) {
    int version = requiredInt(key);
    if (version > newest) {
      throw unsupported(
          key,
          Integer.toString(version),
          "up to %d; a newer release of this library reads it".formatted(newest));
    }
    if (version < 1) {
      throw invalid(key, Integer.toString(version), "1 to " + newest);
    }
  }

  public void refuseUnknownKeys(Set<String> known) {
    for (String key : object.keySet()) {
      if (!known.contains(key)) {
        throw errors.error(
            "%s: unknown key %s; known here: %s"
                .formatted(place, Messages.quote(prefix + key), String.join(", ", known)));
      }
    }
  }

  public LlaraException missing(String key, String expected) {
    return errors.error(
        "%s: key %s is missing; expected %s"
            .formatted(place, Messages.quote(prefix + key), expected));
  }

  /** Returns an error about a key whose value is of the right type and still wrong. */
  public LlaraException invalid(String key, String found, String expected) {
    return errors.error(
        "%s: key %s is %s; expected %s"
            .formatted(place, Messages.quote(prefix + key), found, expected));
  }

  /** Returns an error about a key that asks for something not supported. */
  public LlaraException unsupported(String key, String found, String supported) {
    String message =
        "%s: key %s is %s, which is not supported; supported: %s"
            .formatted(place, Messages.quote(prefix + key), found, supported);
    return errors == Errors.MODEL ? new UnsupportedModelException(message) : errors.error(message);
  }

  /** Describes the value of a key for a message. */
  public String describe(String key) {
    JsonElement value = object.get(key);
    return value == null ? "absent" : describe(value);
  }

  static String describe(JsonElement value) {
    if (value instanceof JsonPrimitive primitive) {
      return primitive.isString()
          ? "the string " + Messages.quote(primitive.getAsString())
          : Messages.brief(primitive.getAsString());
    }
    return value.isJsonObject() ? "an object" : value.isJsonArray() ? "a list" : "null";
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
    object.asMap().forEach((key, value) -> values.put(key, reader.apply(prefix + key, value)));
    return values;
  }

  private JsonSection toSection(String path, JsonElement value) {
    if (value.isJsonObject()) {
      return new JsonSection(place, path + ".", value.getAsJsonObject(), errors);
    }
    throw wrongType(path, value, "an object");
  }

  private String toText(String path, JsonElement value) {
    if (!(value instanceof JsonPrimitive primitive) || !primitive.isString()) {
      throw wrongType(path, value, "a string");
    }
    String text = primitive.getAsString();
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
      throw errors.error(
          "%s: key %s has half of a surrogate pair: it is not Unicode text"
              .formatted(place, Messages.quote(path)));
    }
    return text;
  }

  private String toTextNotBlank(String path, JsonElement value) {
    String text = toText(path, value);
    if (text.isBlank()) {
      throw errors.error("%s: key %s is blank".formatted(place, Messages.quote(path)));
    }
    return text;
  }

  private long toLong(String path, JsonElement value) {
    Long number = wholeNumber(value);
    if (number == null) {
      throw wrongType(path, value, "a whole number");
    }
    return number;
  }

  private int toInt(String path, JsonElement value) {
    Long number = wholeNumber(value);
    if (number == null || number != number.intValue()) {
      throw wrongType(path, value, "a whole number of 32 bits");
    }
    return number.intValue();
  }

  private static @Nullable Long wholeNumber(JsonElement value) {
    return value instanceof JsonPrimitive primitive && primitive.isNumber()
        ? Longs.tryParse(primitive.getAsString())
        : null;
  }

  private double toDouble(String path, JsonElement value) {
    if (value instanceof JsonPrimitive primitive
        && primitive.isNumber()
        && Double.isFinite(primitive.getAsDouble())) {
      return primitive.getAsDouble();
    }
    throw wrongType(path, value, "a finite number");
  }

  private LlaraException wrongType(String path, JsonElement value, String expected) {
    return errors.error(
        "%s: key %s is %s; expected %s"
            .formatted(place, Messages.quote(path), describe(value), expected));
  }
}
