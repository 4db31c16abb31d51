package io.llara.examples.golden;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.LlaraException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.StreamSupport;

/**
 * A JSON object of a golden folder with typed access: a key that is missing or of another type is a
 * {@link LlaraException} that says where.
 *
 * @param where the file and the place in it, for messages
 * @param json the object
 */
record GoldenJson(String where, JsonObject json) {

  /** Returns whether the key is there and not null. */
  boolean has(String key) {
    JsonElement value = json.get(key);
    return value != null && !value.isJsonNull();
  }

  String string(String key) {
    return required(key, "a string", value -> primitive(value).getAsString());
  }

  Optional<String> optionalString(String key) {
    return has(key) ? Optional.of(string(key)) : Optional.empty();
  }

  int integer(String key) {
    return required(key, "an integer", GoldenJson::exactInt);
  }

  boolean bool(String key) {
    return required(
        key,
        "true or false",
        value -> {
          if (!primitive(value).isBoolean()) {
            throw new IllegalStateException("no boolean");
          }
          return value.getAsBoolean();
        });
  }

  double number(String key) {
    return required(key, "a number", value -> primitive(value).getAsDouble());
  }

  double[] numbers(String key) {
    return required(
        key,
        "an array of numbers",
        value ->
            StreamSupport.stream(value.getAsJsonArray().spliterator(), false)
                .mapToDouble(element -> primitive(element).getAsDouble())
                .toArray());
  }

  /** Returns a matrix of numbers, row after row. */
  double[] matrix(String key) {
    return required(
        key,
        "an array of rows of numbers",
        value ->
            StreamSupport.stream(value.getAsJsonArray().spliterator(), false)
                .flatMap(row -> StreamSupport.stream(row.getAsJsonArray().spliterator(), false))
                .mapToDouble(element -> primitive(element).getAsDouble())
                .toArray());
  }

  /** Returns the keys, in the order of the file. */
  Set<String> keys() {
    return json.keySet();
  }

  GoldenJson object(String key) {
    return new GoldenJson(
        where + ", " + key, required(key, "an object", JsonElement::getAsJsonObject));
  }

  /** Returns the objects of an array. */
  List<GoldenJson> objects(String key) {
    JsonArray array = required(key, "an array of objects", JsonElement::getAsJsonArray);
    List<GoldenJson> objects = new ArrayList<>();
    for (JsonElement element : array) {
      String place = where + ", " + key + "[" + objects.size() + "]";
      if (!element.isJsonObject()) {
        throw new LlaraException(place + ": expected an object");
      }
      objects.add(new GoldenJson(place, element.getAsJsonObject()));
    }
    return objects;
  }

  int[] ints(String key) {
    return required(key, "an array of integers", GoldenJson::intArray);
  }

  /** Returns a matrix of integers by rows; one flat array counts as one row. */
  List<int[]> rows(String key) {
    return required(key, "an array of rows of integers", GoldenJson::intRows);
  }

  /** Returns a matrix of strings by rows. */
  List<List<String>> stringRows(String key) {
    return required(
        key,
        "an array of rows of strings",
        value -> {
          List<List<String>> rows = new ArrayList<>();
          for (JsonElement row : value.getAsJsonArray()) {
            List<String> strings = new ArrayList<>();
            row.getAsJsonArray().forEach(element -> strings.add(primitive(element).getAsString()));
            rows.add(strings);
          }
          return rows;
        });
  }

  private <T> T required(String key, String expected, Function<JsonElement, T> reader) {
    JsonElement value = json.get(key);
    if (value == null) {
      throw new LlaraException("%s: key '%s' is missing".formatted(where, key));
    }
    try {
      return reader.apply(value);
    } catch (IllegalStateException
        | UnsupportedOperationException
        | NumberFormatException
        | ArithmeticException e) {
      throw new LlaraException("%s: key '%s' is not %s".formatted(where, key, expected), e);
    }
  }

  private static JsonPrimitive primitive(JsonElement element) {
    return element.getAsJsonPrimitive();
  }

  private static int exactInt(JsonElement element) {
    return primitive(element).getAsBigDecimal().intValueExact();
  }

  private static int[] intArray(JsonElement element) {
    JsonArray array = element.getAsJsonArray();
    int[] values = new int[array.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = exactInt(array.get(i));
    }
    return values;
  }

  private static List<int[]> intRows(JsonElement element) {
    JsonArray array = element.getAsJsonArray();
    if (!array.isEmpty() && !array.get(0).isJsonArray()) {
      return List.of(intArray(array));
    }
    List<int[]> rows = new ArrayList<>();
    array.forEach(row -> rows.add(intArray(row)));
    return rows;
  }
}
