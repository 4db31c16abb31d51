package io.llara.examples.golden;

import com.google.common.primitives.Doubles;
import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import io.llara.LlaraException;
import io.llara.io.StrictJson;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A JSON object of a golden folder with typed access: a key that is missing or of another type is a
 * {@link LlaraException} that says where.
 *
 * @param where the file and the place in it, for messages
 * @param json the object
 */
record GoldenJson(String where, JsonObject json) {
  private static final Gson GSON = new Gson();

  static GoldenJson read(Path file) {
    return new GoldenJson(file.toString(), StrictJson.file(file).json());
  }

  /** Returns whether the key is there and not null. */
  boolean has(String key) {
    return json.has(key) && !json.get(key).isJsonNull();
  }

  String string(String key) {
    return get(key, "a string", String.class);
  }

  Optional<String> optionalString(String key) {
    return has(key) ? Optional.of(string(key)) : Optional.empty();
  }

  int integer(String key) {
    return get(key, "an integer", Integer.class);
  }

  boolean bool(String key) {
    return get(key, "true or false", Boolean.class);
  }

  double number(String key) {
    return get(key, "a number", Double.class);
  }

  double[] numbers(String key) {
    return get(key, "an array of numbers", double[].class);
  }

  /** Returns a matrix of numbers, row after row. */
  double[] matrix(String key) {
    return Doubles.concat(get(key, "an array of rows of numbers", double[][].class));
  }

  int[] ints(String key) {
    return get(key, "an array of integers", int[].class);
  }

  /** Returns a matrix of integers by rows; one flat array counts as one row. */
  List<int[]> rows(String key) {
    JsonElement value = json.get(key);
    boolean flat =
        value != null
            && value.isJsonArray()
            && !value.getAsJsonArray().isEmpty()
            && !value.getAsJsonArray().get(0).isJsonArray();
    return flat
        ? List.of(ints(key))
        : List.of(get(key, "an array of rows of integers", int[][].class));
  }

  List<String> strings(String key) {
    return List.of(get(key, "an array of strings", String[].class));
  }

  /** Returns a matrix of strings by rows. */
  String[][] stringRows(String key) {
    return get(key, "an array of rows of strings", String[][].class);
  }

  /** Returns the keys, in the order of the file. */
  Set<String> keys() {
    return json.keySet();
  }

  Optional<GoldenJson> optionalObject(String key) {
    return has(key) ? Optional.of(object(key)) : Optional.empty();
  }

  GoldenJson object(String key) {
    return new GoldenJson(where + ", " + key, get(key, "an object", JsonObject.class));
  }

  /** Returns the objects of an array. */
  List<GoldenJson> objects(String key) {
    List<GoldenJson> objects = new ArrayList<>();
    for (JsonObject object : get(key, "an array of objects", JsonObject[].class)) {
      objects.add(new GoldenJson("%s, %s[%d]".formatted(where, key, objects.size()), object));
    }
    return objects;
  }

  private <T> T get(String key, String expected, Class<T> type) {
    if (!has(key)) {
      throw new LlaraException("%s: key '%s' is missing".formatted(where, key));
    }
    try {
      // From text: a tree would cut fractions off where integers are asked for.
      T value = GSON.fromJson(json.get(key).toString(), type);
      if (!(value instanceof Object[] array && Arrays.asList(array).contains(null))) {
        return value;
      }
      throw new JsonParseException("an element is null");
    } catch (JsonParseException | IllegalArgumentException e) {
      throw new LlaraException("%s: key '%s' is not %s".formatted(where, key, expected), e);
    }
  }
}
