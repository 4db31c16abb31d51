package io.llara.tokenize;

import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** Finds the configured end-of-sequence token in the small files beside a tokenizer.json. */
final class EosToken {
  private static final String NAME = "eos_token";
  private static final String ID = "eos_token_id";

  private EosToken() {}

  static Optional<String> find(
      Path modelDir, Map<String, Integer> ids, Map<Integer, String> names) {
    for (String file : List.of("tokenizer_config.json", "special_tokens_map.json")) {
      Optional<String> token = read(modelDir.resolve(file), NAME).map(json -> named(json, ids));
      if (token.isPresent()) {
        return token;
      }
    }
    return read(modelDir.resolve("config.json"), ID).map(json -> numbered(json, names));
  }

  /** Reads a file if it is there and has a key. */
  private static Optional<JsonSection> read(Path file, String key) {
    return Files.exists(file)
        ? Optional.of(StrictJson.modelFile(file)).filter(json -> json.has(key))
        : Optional.empty();
  }

  /** The token as a bare name or as an object with its name in it. */
  private static String named(JsonSection json, Map<String, Integer> ids) {
    String token =
        json.isString(NAME)
            ? json.requiredString(NAME)
            : json.requiredSection(NAME).requiredString("content");
    if (!ids.containsKey(token)) {
      throw json.invalid(NAME, Messages.quote(token), "a token of tokenizer.json");
    }
    return token;
  }

  /** The token by id; of several, the first. */
  private static String numbered(JsonSection json, Map<Integer, String> names) {
    return json.integers(ID).stream()
        .limit(1)
        .flatMap(id -> Stream.ofNullable(names.get(id)))
        .findFirst()
        .orElseThrow(
            () -> json.invalid(ID, json.describe(ID), "the id of a token of tokenizer.json"));
  }
}
