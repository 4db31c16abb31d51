package io.llara.tokenize;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.testing.Shared;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Consumer;

/** Tokenizer files for tests: whole, and with changes. */
public final class TestTokenizers {
  /** Ids of the markers {@code <s1>} to {@code <s16>} in the released Llama2Vec checkpoints. */
  private static final int[] MARKER_IDS = {
    32008, 32011, 32004, 32013, 32007, 32005, 32002, 32014, //
    32000, 32009, 32012, 32001, 32010, 32003, 32006, 32015
  };

  private TestTokenizers() {}

  /** Returns the directory of the small tokenizer among the test resources: 512 tokens. */
  public static Path stories() {
    try {
      return Path.of(TestTokenizers.class.getResource("/stories260k").toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Writes the small tokenizer, changed, and returns its directory. */
  public static Path changed(Path dir, Consumer<JsonObject> change) throws IOException {
    return changed(stories(), dir, change);
  }

  /** Writes the tokenizer of {@code from}, changed, to {@code dir}, which it returns. */
  public static Path changed(Path from, Path dir, Consumer<JsonObject> change) throws IOException {
    JsonObject json =
        JsonParser.parseString(Files.readString(from.resolve("tokenizer.json"))).getAsJsonObject();
    change.accept(json);
    Files.writeString(dir.resolve("tokenizer.json"), json.toString());
    return dir;
  }

  /** Writes the shared LLaMA-2 tokenizer plus the markers, or skips the test without it. */
  public static Path llama2WithMarkers(Path dir) throws IOException {
    Path from = Shared.require().resolve("data/tokenizers/llama2");
    changed(from, dir, json -> addMarkers(json, MARKER_IDS));
    Files.copy(from.resolve("tokenizer_config.json"), dir.resolve("tokenizer_config.json"));
    return dir;
  }

  /** Adds {@code <s1>}, {@code <s2>}… with given ids, in the order of their names. */
  static void addMarkers(JsonObject json, int... ids) {
    JsonArray added = json.getAsJsonArray("added_tokens");
    for (int i = 0; i < ids.length; i++) {
      added.add(addedToken("<s" + (i + 1) + ">", ids[i], true));
    }
  }

  static JsonObject addedToken(String name, int id, boolean special) {
    JsonObject token = new JsonObject();
    token.addProperty("id", id);
    token.addProperty("content", name);
    token.addProperty("single_word", false);
    token.addProperty("lstrip", false);
    token.addProperty("rstrip", false);
    token.addProperty("normalized", !special);
    token.addProperty("special", special);
    return token;
  }
}
