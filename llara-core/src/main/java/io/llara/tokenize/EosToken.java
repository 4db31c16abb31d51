package io.llara.tokenize;

import com.google.common.collect.ImmutableList;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import io.llara.ModelLoadException;
import java.io.IOException;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/** Finds the configured end-of-sequence token in the small files beside a tokenizer.json. */
final class EosToken {
  private EosToken() {}

  static Optional<String> find(
      Path modelDir, Map<String, Integer> ids, Map<Integer, String> names) {
    for (String name : ImmutableList.of("tokenizer_config.json", "special_tokens_map.json")) {
      Path file = modelDir.resolve(name);
      Optional<JsonElement> value = read(file, "eos_token");
      if (value.isPresent()) {
        String token = token(value.get(), file);
        if (!ids.containsKey(token)) {
          throw new ModelLoadException(
              file + ": eos_token is \"" + token + "\", which tokenizer.json does not have");
        }
        return Optional.of(token);
      }
    }
    Path file = modelDir.resolve("config.json");
    return read(file, "eos_token_id").map(value -> token(value, file, names));
  }

  /** The token as a bare name or as an object with its name in it. */
  private static String token(JsonElement value, Path file) {
    JsonElement name = value instanceof JsonObject object ? object.get("content") : value;
    if (name instanceof JsonPrimitive primitive && primitive.isString()) {
      return primitive.getAsString();
    }
    throw new ModelLoadException(file + ": eos_token is " + value + ", expected a token's name");
  }

  /** The token by id; of several, the first. */
  private static String token(JsonElement value, Path file, Map<Integer, String> names) {
    JsonElement id = value instanceof JsonArray array && !array.isEmpty() ? array.get(0) : value;
    if (id instanceof JsonPrimitive primitive && primitive.isNumber()) {
      String number = primitive.getAsString();
      String name = number.matches("[0-9]{1,9}") ? names.get(Integer.parseInt(number)) : null;
      if (name != null) {
        return name;
      }
    }
    throw new ModelLoadException(
        file + ": eos_token_id is " + value + ", which is no token id of tokenizer.json");
  }

  private static Optional<JsonElement> read(Path file, String key) {
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try (Reader chars = Files.newBufferedReader(file, StandardCharsets.UTF_8);
        JsonReader reader = new JsonReader(chars)) {
      reader.setStrictness(Strictness.STRICT);
      JsonElement root = JsonParser.parseReader(reader);
      if (!(root instanceof JsonObject object) || reader.peek() != JsonToken.END_DOCUMENT) {
        throw new ModelLoadException(file + " is not a JSON object");
      }
      return Optional.ofNullable(object.get(key)).filter(value -> !value.isJsonNull());
    } catch (CharacterCodingException e) {
      throw new ModelLoadException(file + " is not UTF-8 text", e);
    } catch (IOException | JsonParseException e) {
      throw new ModelLoadException(file + ": " + e.getMessage(), e);
    }
  }
}
