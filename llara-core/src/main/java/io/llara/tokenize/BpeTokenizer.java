package io.llara.tokenize;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import io.llara.Internal;
import io.llara.io.StrictJson;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntPredicate;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A byte-pair tokenizer read from another form of file, to be written as a tokenizer.json.
 *
 * @param tokens the model's tokens in the order of their ids, each once
 * @param merges the merges, best first
 * @param added the tokens that are not found by merging, in the order of their ids
 * @param steps what is done to a text before and after merging
 * @param bos the id of the token put before a text, if one is
 * @param eos the id of the token put after a text, if one is
 */
@Internal
public record BpeTokenizer(
    List<String> tokens,
    List<Merge> merges,
    List<AddedToken> added,
    Steps steps,
    Optional<Integer> bos,
    Optional<Integer> eos) {

  /** How many tokens there are of bytes, if there are any. */
  public static final int BYTES = 256;

  private static final Pattern BYTE_NAME = Pattern.compile("<0x[0-9A-F]{2}>");

  /** What a token is for, in SentencePiece's files and in GGUF; their numbers begin with 1. */
  public enum TokenType {
    NORMAL,
    UNKNOWN,
    CONTROL,
    USER_DEFINED,
    UNUSED,
    BYTE
  }

  /** Returns whether a token has the name of one that stands for a byte, {@code <0x0A>}. */
  public static boolean namesByte(String token) {
    return BYTE_NAME.matcher(token).matches();
  }

  /** Two neighbouring tokens that become one. */
  public record Merge(String left, String right) {}

  /**
   * A token that is not found by merging.
   *
   * @param content its name; in texts it is matched as it is, before anything is done to them
   * @param lstrip whether white space before it goes
   * @param rstrip whether white space after it goes
   * @param special whether it steers the model and is no part of texts
   */
  public record AddedToken(
      int id, String content, boolean lstrip, boolean rstrip, boolean special) {

    /** Returns what a tokenizer_config.json says of it; a tokenizer.json adds the id. */
    public JsonObject toJson() {
      JsonObject json = new JsonObject();
      json.addProperty("content", content);
      json.addProperty("single_word", false);
      json.addProperty("lstrip", lstrip);
      json.addProperty("rstrip", rstrip);
      json.addProperty("normalized", false);
      json.addProperty("special", special);
      return json;
    }
  }

  /** What is done to a text before and after merging. */
  public sealed interface Steps permits SentencePiece, ByteLevel {}

  /** Where SentencePiece puts the space that it adds. */
  public enum Space {
    /** Before a text, and before what follows an added token in it. */
    BEFORE_EACH_PART,
    /** Before a text alone, unless it begins with a space. */
    BEFORE_TEXT,
    NOWHERE
  }

  /**
   * The steps of SentencePiece: spaces are U+2581, what has no token is spelled in bytes.
   *
   * @param unknown the token for what has none, if there is one
   * @param bytes whether there are tokens of bytes
   */
  public record SentencePiece(Space space, Optional<String> unknown, boolean bytes)
      implements Steps {}

  /**
   * The steps of byte-level tokenizers: text is split, bytes are written as printable characters.
   *
   * @param preTokenizer how a text is split, as in a tokenizer.json
   * @param ignoresMerges whether a piece that is a token is taken without merging
   */
  public record ByteLevel(JsonElement preTokenizer, boolean ignoresMerges) implements Steps {
    /** Returns the component that writes bytes as printable characters, or reads them. */
    public static JsonElement component(boolean splits) {
      return json(
          """
          {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": %s}""",
          splits);
    }
  }

  /**
   * Returns the merges that give the same tokens as joining, again and again, the two neighbours
   * whose union has the highest score. For two ways to the same token, and for equal scores, the
   * order is that of the ids, as in other conversions.
   *
   * @param textual whether the token of an id is part of texts
   */
  public static List<Merge> mergesOf(
      List<String> tokens, List<Double> scores, IntPredicate textual) {
    Map<String, Integer> ids = new HashMap<>();
    IntStream.range(0, tokens.size()).filter(textual).forEach(id -> ids.put(tokens.get(id), id));
    return ids.values().stream()
        .sorted(
            // Positive and negative zero are one score.
            Comparator.comparing((Integer id) -> -scores.get(id) + 0.0)
                .thenComparing(Comparator.naturalOrder()))
        .flatMap(id -> splits(tokens.get(id), ids))
        .toList();
  }

  private static Stream<Merge> splits(String token, Map<String, Integer> ids) {
    return IntStream.range(1, token.length())
        .filter(at -> !Character.isLowSurrogate(token.charAt(at)))
        .mapToObj(at -> new Merge(token.substring(0, at), token.substring(at)))
        .filter(merge -> ids.containsKey(merge.left()) && ids.containsKey(merge.right()))
        .sorted(
            Comparator.comparing((Merge merge) -> ids.get(merge.left()))
                .thenComparing(merge -> ids.get(merge.right())));
  }

  /** Returns the tokenizer.json. */
  public JsonObject toJson() {
    JsonArray addedTokens = new JsonArray();
    for (AddedToken token : added) {
      JsonObject one = new JsonObject();
      one.addProperty("id", token.id());
      token.toJson().asMap().forEach(one::add);
      addedTokens.add(one);
    }
    JsonObject json = new JsonObject();
    json.addProperty("version", "1.0");
    json.add("truncation", JsonNull.INSTANCE);
    json.add("padding", JsonNull.INSTANCE);
    json.add("added_tokens", addedTokens);
    if (steps instanceof SentencePiece pieces) {
      json.add("normalizer", normalizer(pieces.space()));
      json.add("pre_tokenizer", preTokenizer(pieces.space()));
      json.add("post_processor", postProcessor());
      json.add("decoder", decoder(pieces.space()));
    } else if (steps instanceof ByteLevel level) {
      json.add("normalizer", JsonNull.INSTANCE);
      json.add("pre_tokenizer", level.preTokenizer());
      json.add("post_processor", postProcessor());
      json.add("decoder", ByteLevel.component(true));
    }
    json.add("model", model());
    return json;
  }

  private static JsonElement normalizer(Space space) {
    String prepend =
        """
        {"type": "Prepend", "prepend": "\u2581"},""";
    return json(
        """
        {"type": "Sequence", "normalizers": [
          %s {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}""",
        space == Space.BEFORE_EACH_PART ? prepend : "");
  }

  private static JsonElement preTokenizer(Space space) {
    return space == Space.BEFORE_TEXT
        ? json(
            """
            {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": false}""")
        : JsonNull.INSTANCE;
  }

  private static JsonElement decoder(Space space) {
    String strip =
        """
        , {"type": "Strip", "content": " ", "start": 1, "stop": 0}""";
    return json(
        """
        {"type": "Sequence", "decoders": [
          {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
          {"type": "ByteFallback"}, {"type": "Fuse"} %s]}""",
        space == Space.NOWHERE ? "" : strip);
  }

  private JsonElement postProcessor() {
    List<Integer> before = bos.stream().toList();
    List<Integer> after = eos.stream().toList();
    if (before.isEmpty() && after.isEmpty()) {
      return JsonNull.INSTANCE;
    }
    List<String> pieces = new ArrayList<>();
    for (int part = 0; part < 2; part++) {
      pieces.addAll(references(before, part));
      pieces.add(
          """
          {"Sequence": {"id": "%s", "type_id": %d}}"""
              .formatted(part == 0 ? "A" : "B", part));
      pieces.addAll(references(after, part));
    }
    String special =
        Stream.concat(before.stream(), after.stream())
            .distinct()
            .map(
                id ->
                    """
                    %1$s: {"id": %1$s, "ids": [%2$d], "tokens": [%1$s]}"""
                        .formatted(quoted(id), id))
            .collect(Collectors.joining(", "));
    return json(
        """
        {"type": "TemplateProcessing", "single": %s, "pair": %s, "special_tokens": {%s}}""",
        pieces.subList(0, pieces.size() / 2), pieces, special);
  }

  private List<String> references(List<Integer> ids, int part) {
    return ids.stream()
        .map(
            id ->
                """
                {"SpecialToken": {"id": %s, "type_id": %d}}"""
                    .formatted(quoted(id), part))
        .toList();
  }

  private JsonElement quoted(int id) {
    return new JsonPrimitive(
        added.stream()
            .filter(token -> token.id() == id)
            .map(AddedToken::content)
            .findFirst()
            .orElseGet(() -> tokens.get(id)));
  }

  private JsonObject model() {
    JsonObject ids = new JsonObject();
    IntStream.range(0, tokens.size()).forEach(id -> ids.addProperty(tokens.get(id), id));
    JsonObject model = new JsonObject();
    model.addProperty("type", "BPE");
    model.add("dropout", JsonNull.INSTANCE);
    SentencePiece pieces = steps instanceof SentencePiece one ? one : null;
    model.addProperty("unk_token", pieces == null ? null : pieces.unknown().orElse(null));
    model.add("continuing_subword_prefix", JsonNull.INSTANCE);
    model.add("end_of_word_suffix", JsonNull.INSTANCE);
    model.addProperty("fuse_unk", pieces != null);
    model.addProperty("byte_fallback", pieces != null && pieces.bytes());
    model.addProperty("ignore_merges", steps instanceof ByteLevel level && level.ignoresMerges());
    model.add("vocab", ids);
    model.add("merges", mergesJson());
    return model;
  }

  /** Merges as "left right", which all readers know, or as pairs if a token has a space. */
  private JsonElement mergesJson() {
    boolean asPairs =
        merges.stream().anyMatch(merge -> (merge.left() + merge.right()).contains(" "));
    return StrictJson.tree(
        merges.stream()
            .map(
                merge ->
                    asPairs
                        ? List.of(merge.left(), merge.right())
                        : merge.left() + " " + merge.right())
            .toList());
  }

  private static JsonElement json(String template, Object... values) {
    return JsonParser.parseString(template.formatted(values));
  }
}
