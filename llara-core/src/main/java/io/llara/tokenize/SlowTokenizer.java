package io.llara.tokenize;

import com.google.common.primitives.Ints;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import io.llara.tokenize.BpeTokenizer.AddedToken;
import io.llara.tokenize.BpeTokenizer.Merge;
import io.llara.tokenize.BpeTokenizer.Space;
import io.llara.tokenize.BpeTokenizer.TokenType;
import io.llara.tokenize.SentencePieceModel.Piece;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The slow tokenizer of a model directory: a SentencePiece model, {@code tokenizer.model}, and the
 * tokens that {@code tokenizer_config.json}, {@code special_tokens_map.json} and {@code
 * added_tokens.json} add to it, each of which may be absent. It becomes a {@link BpeTokenizer} that
 * gives the same ids.
 *
 * <p>Ids follow SentencePiece and the slow LlamaTokenizer of transformers 4. A tokenizer with
 * {@code legacy} false puts a space before a whole text alone. Where tokens are matched within
 * texts, that needs the Metaspace step, which adds none to a text that begins with one.
 */
final class SlowTokenizer {
  static final String FILE = "tokenizer.model";

  private static final String ADDED = "added_tokens_decoder";

  private final SentencePieceModel model;
  private final Optional<JsonSection> config;
  private final Optional<JsonSection> map;
  private final Map<Integer, AddedToken> added = new TreeMap<>();

  private SlowTokenizer(Path dir) {
    this.model = SentencePieceModel.read(dir.resolve(FILE));
    this.config = json(dir.resolve("tokenizer_config.json"));
    this.map = json(dir.resolve("special_tokens_map.json"));
    addPieces();
    json(dir.resolve("added_tokens.json")).ifPresent(this::addNamed);
    config.flatMap(json -> json.section(ADDED)).ifPresent(this::addDescribed);
  }

  /**
   * Returns the tokenizer.json that gives the same ids; empty if a directory has one already, or no
   * slow tokenizer.
   *
   * @throws io.llara.ModelLoadException if a file is damaged or contradicts another
   */
  static Optional<JsonObject> convert(Path dir) {
    return Files.exists(dir.resolve(TokenizerJson.FILE)) || !Files.exists(dir.resolve(FILE))
        ? Optional.empty()
        : Optional.of(new SlowTokenizer(dir).convert().toJson());
  }

  private static Optional<JsonSection> json(Path file) {
    return Files.exists(file) ? Optional.of(StrictJson.modelFile(file)) : Optional.empty();
  }

  private BpeTokenizer convert() {
    List<String> tokens = model.pieces().stream().map(Piece::text).toList();
    List<Double> scores = model.pieces().stream().map(Piece::score).toList();
    List<Merge> merges = BpeTokenizer.mergesOf(tokens, scores, this::isText);
    return new BpeTokenizer(
        tokens,
        merges,
        List.copyOf(added.values()),
        new BpeTokenizer.SentencePiece(
            space(), Optional.of(tokens.get(model.unknownId())), model.hasBytes()),
        setting("add_bos_token", true) ? role("bos_token", model.bosId()) : Optional.empty(),
        setting("add_eos_token", false) ? role("eos_token", model.eosId()) : Optional.empty());
  }

  private boolean isText(int id) {
    TokenType type = model.pieces().get(id).type();
    return type == TokenType.NORMAL || type == TokenType.USER_DEFINED;
  }

  private boolean setting(String key, boolean absent) {
    return config.flatMap(json -> json.bool(key)).orElse(absent);
  }

  private Space space() {
    if (!setting("add_prefix_space", model.addsSpace())) {
      return Space.NOWHERE;
    }
    boolean hasUserDefined =
        model.pieces().stream().anyMatch(piece -> piece.type() == TokenType.USER_DEFINED);
    boolean splits = added.values().stream().anyMatch(token -> !token.special());
    return hasUserDefined || splits && !setting("legacy", true)
        ? Space.BEFORE_TEXT
        : Space.BEFORE_EACH_PART;
  }

  /** Adds the pieces that a text does not spell, or that are matched before merging. */
  private void addPieces() {
    for (int id = 0; id < model.pieces().size(); id++) {
      Piece piece = model.pieces().get(id);
      switch (piece.type()) {
        case UNKNOWN, CONTROL -> add(id, piece.text(), true);
        case USER_DEFINED -> add(id, piece.text(), false);
        default -> {
          // Found by merging.
        }
      }
    }
  }

  /** Adds the tokens of {@code added_tokens.json}; other files say which of them are special. */
  private void addNamed(JsonSection tokens) {
    Set<String> special = new HashSet<>();
    for (JsonSection json : Stream.concat(config.stream(), map.stream()).toList()) {
      for (String key : json.keys()) {
        if (key.endsWith("_token") || key.endsWith("_special_tokens")) {
          special.addAll(names(json.json().get(key)));
        }
      }
    }
    tokens.allIntegers().forEach((name, id) -> add(id, name, special.contains(name)));
  }

  private void addDescribed(JsonSection tokens) {
    for (String key : tokens.keys()) {
      Integer id = Ints.tryParse(key);
      JsonSection token = tokens.requiredSection(key);
      if (id == null || id < 0) {
        throw tokens.invalid(key, "not the id of a token", "a whole number from 0 on");
      }
      added.put(
          id,
          new AddedToken(
              id,
              token.requiredString("content"),
              token.bool("lstrip").orElse(false),
              token.bool("rstrip").orElse(false),
              token.bool("special").orElse(false)));
    }
  }

  private void add(int id, String name, boolean special) {
    added.put(id, new AddedToken(id, name, false, false, special));
  }

  /** Returns the token that a file gives a role, or else the one that the model does. */
  private Optional<Integer> role(String role, int usual) {
    for (JsonSection json : Stream.concat(config.stream(), map.stream()).toList()) {
      for (String name : names(json.json().get(role))) {
        return Optional.of(
            added.values().stream()
                .filter(token -> token.content().equals(name))
                .map(AddedToken::id)
                .findFirst()
                .or(() -> Optional.ofNullable(model.ids().get(name)))
                .orElseThrow(() -> json.invalid(role, Messages.quote(name), "a token of " + FILE)));
      }
    }
    return usual >= 0 && usual < model.pieces().size() ? Optional.of(usual) : Optional.empty();
  }

  /** Returns the names in a value that is a name, an object with one, or a list of such. */
  private static List<String> names(@Nullable JsonElement value) {
    if (value instanceof JsonArray list) {
      return list.asList().stream().flatMap(one -> names(one).stream()).toList();
    }
    JsonElement name = value instanceof JsonObject object ? object.get("content") : value;
    return name instanceof JsonPrimitive ? List.of(name.getAsString()) : List.of();
  }
}
