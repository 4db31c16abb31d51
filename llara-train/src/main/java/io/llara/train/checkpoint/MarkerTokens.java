package io.llara.train.checkpoint;

import com.google.common.collect.ImmutableList;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.PromptTemplate.Token;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/** The markers of a recipe, made special tokens of a tokenizer that lacks them. */
final class MarkerTokens {
  /** {@code <s1>} to {@code <s16>}, in the order of a joint prompt. */
  static final ImmutableList<String> NAMES =
      Stream.of(PromptTemplate.LLAMA2VEC.self(), PromptTemplate.LLAMA2VEC.next())
          .flatMap(affix -> affix.suffix().stream())
          .filter(Token.class::isInstance)
          .map(part -> ((Token) part).token())
          .collect(ImmutableList.toImmutableList());

  private final Path dir;
  private final JsonObject tokenizer;

  /** One more than the largest id before. */
  private final int size;

  /** Markers that are no token yet, in order, with the ids they get. */
  private final Map<String, Integer> added = new LinkedHashMap<>();

  /** All markers that become special tokens: also words of the vocabulary that were none. */
  private final Map<String, Integer> registered = new LinkedHashMap<>();

  private MarkerTokens(Path dir, Tokenizer known) {
    this.dir = dir;
    this.tokenizer = ModelFiles.tokenizer(dir);
    this.size = known.vocabularySize();
    requireNoGaps();
    Set<String> special = new HashSet<>();
    for (JsonElement token : ModelFiles.list(tokenizer, "added_tokens")) {
      special.add(token.getAsJsonObject().get("content").getAsString());
    }
    for (String name : NAMES) {
      int id = known.tokenId(name).orElse(size + added.size());
      if (id >= size) {
        added.put(name, id);
      }
      if (!special.contains(name)) {
        registered.put(name, id);
      }
    }
    if (registered.isEmpty()) {
      throw new LlaraException(
          "%s: has all the markers already, %s to %s; nothing to add"
              .formatted(
                  dir.resolve(ModelFiles.TOKENIZER), NAMES.get(0), NAMES.get(NAMES.size() - 1)));
    }
  }

  /**
   * Reads the tokenizer of a model directory.
   *
   * @throws io.llara.ModelLoadException if it cannot be read
   * @throws LlaraException if it has all the markers, or not every id up to its last
   */
  static MarkerTokens missingIn(Path dir) {
    try (Tokenizer known = Tokenizer.load(dir)) {
      return new MarkerTokens(dir, known);
    }
  }

  /** Returns how many ids the tokenizer had. */
  int oldSize() {
    return size;
  }

  /** Returns the names of the markers that got new ids, {@link #oldSize} and the following. */
  List<String> added() {
    return List.copyOf(added.keySet());
  }

  /** Writes the tokenizer's files with the markers in them. */
  void write(Path out) {
    ModelFiles.copyTokenizer(dir, out);
    List<JsonElement> tokens = new ArrayList<>();
    JsonArray before = ModelFiles.list(tokenizer, "added_tokens");
    before.forEach(tokens::add);
    registered.forEach(
        (name, id) -> {
          JsonObject token = new JsonObject();
          token.addProperty("id", id);
          describe(name).entrySet().forEach(entry -> token.add(entry.getKey(), entry.getValue()));
          tokens.add(token);
        });
    // In the order of ids: the tokenizers library numbers new tokens as it meets them.
    tokens.sort(Comparator.comparingInt(token -> token.getAsJsonObject().get("id").getAsInt()));
    JsonArray sorted = new JsonArray();
    tokens.forEach(sorted::add);
    tokenizer.add("added_tokens", sorted);
    AtomicFiles.writeJson(out.resolve(ModelFiles.TOKENIZER), tokenizer);
    ModelFiles.editAddedTokens(
        dir,
        out,
        decoder ->
            registered.forEach((name, id) -> decoder.add(Integer.toString(id), describe(name))));
    ModelFiles.jsonIfThere(dir.resolve(ModelFiles.ADDED_TOKENS))
        .ifPresent(
            ids -> {
              registered.forEach(ids::addProperty);
              AtomicFiles.writeJson(out.resolve(ModelFiles.ADDED_TOKENS), ids);
            });
  }

  private static JsonObject describe(String name) {
    JsonObject token = new JsonObject();
    token.addProperty("content", name);
    for (String no : List.of("single_word", "lstrip", "rstrip", "normalized")) {
      token.addProperty(no, false);
    }
    token.addProperty("special", true);
    return token;
  }

  /** The tokenizers library does not read ids of added tokens but counts. */
  private void requireNoGaps() {
    BitSet ids = new BitSet();
    JsonElement vocabulary = tokenizer.getAsJsonObject("model").get("vocab");
    if (vocabulary instanceof JsonArray scored) {
      ids.set(0, scored.size());
    } else {
      vocabulary.getAsJsonObject().asMap().values().forEach(id -> ids.set(id.getAsInt()));
    }
    for (JsonElement token : ModelFiles.list(tokenizer, "added_tokens")) {
      ids.set(token.getAsJsonObject().get("id").getAsInt());
    }
    int gap = ids.nextClearBit(0);
    if (gap < size) {
      throw new LlaraException(
          ("%s: no token has the id %d, though there are larger ones; new tokens cannot be"
                  + " numbered so that every library agrees")
              .formatted(dir.resolve(ModelFiles.TOKENIZER), gap));
    }
  }
}
