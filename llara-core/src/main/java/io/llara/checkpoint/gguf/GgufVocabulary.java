package io.llara.checkpoint.gguf;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.Messages;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Pattern;

/**
 * The tokens of a GGUF file's metadata, checked: kinds, special ids, and the merges of byte-pair
 * encoding. Files of kind {@code llama} have no merges but scores, from which the merges follow.
 */
final class GgufVocabulary {
  private static final String PREFIX = "tokenizer.ggml.";
  private static final String MODEL = PREFIX + "model";
  private static final String PRE = PREFIX + "pre";
  private static final String TOKENS = PREFIX + "tokens";
  private static final String SCORES = PREFIX + "scores";
  private static final String TYPES = PREFIX + "token_type";
  private static final String MERGES = PREFIX + "merges";

  private static final int MAX_TOKEN_CHARACTERS = 4096;

  /** Merges from scores try every way to cut a token in two. */
  private static final int MAX_SCORED_CHARACTERS = 512;

  private static final Pattern BYTE_TOKEN = Pattern.compile("<0x[0-9A-F]{2}>");
  private static final int BYTES = 256;

  /** What a file calls the kind of its vocabulary. */
  enum Kind {
    /** SentencePiece: spaces are U+2581, what has no token is spelled in bytes. */
    LLAMA,
    /** Byte-level: text is cut by a pre-tokenizer, bytes are written as printable characters. */
    GPT2
  }

  /** What a token is for; the numbers in the file begin with 1. */
  enum TokenType {
    NORMAL,
    UNKNOWN,
    CONTROL,
    USER_DEFINED,
    UNUSED,
    BYTE
  }

  /**
   * Two neighbouring tokens that become one.
   *
   * @param left the first, by id
   * @param right the second, by id
   */
  record Merge(int left, int right) {}

  private final GgufMetadata metadata;
  private final Kind kind;
  private final Optional<GgufPreTokenizer> preTokenizer;
  private final List<String> tokens;
  private final Map<String, Integer> ids;
  private final TokenType[] types;
  private final List<Merge> merges;
  private final OptionalInt bosId;
  private final OptionalInt eosId;
  private final OptionalInt unknownId;
  private final OptionalInt paddingId;
  private final List<String> notes = new ArrayList<>();

  private GgufVocabulary(GgufMetadata metadata) {
    this.metadata = metadata;
    this.kind = readKind(metadata);
    this.preTokenizer = kind == Kind.GPT2 ? Optional.of(readPreTokenizer()) : Optional.empty();
    this.ids = new LinkedHashMap<>();
    this.tokens = readTokens();
    this.types = readTypes();
    this.merges = kind == Kind.GPT2 ? readMerges() : scoredMerges();
    this.bosId = id("bos_token_id", 1);
    this.eosId = id("eos_token_id", 2);
    this.unknownId = id("unknown_token_id", 0);
    this.paddingId = id("padding_token_id", -1);
    checkByteTokens();
    checkEnds();
  }

  /**
   * Reads the vocabulary.
   *
   * @throws ModelLoadException if a key is missing or wrong
   * @throws UnsupportedModelException if the vocabulary or its pre-tokenizer is of a kind that is
   *     not known
   */
  static GgufVocabulary read(GgufMetadata metadata) {
    return new GgufVocabulary(metadata);
  }

  Kind kind() {
    return kind;
  }

  Optional<GgufPreTokenizer> preTokenizer() {
    return preTokenizer;
  }

  int size() {
    return tokens.size();
  }

  String token(int id) {
    return tokens.get(id);
  }

  TokenType type(int id) {
    return types[id];
  }

  List<Merge> merges() {
    return merges;
  }

  /** Returns what a user should know about how the vocabulary was read. */
  List<String> notes() {
    return notes;
  }

  OptionalInt bosId() {
    return bosId;
  }

  OptionalInt eosId() {
    return eosId;
  }

  OptionalInt unknownId() {
    return unknownId;
  }

  OptionalInt paddingId() {
    return paddingId;
  }

  /** Returns whether the beginning of a text is marked. */
  boolean addsBos() {
    boolean usual = preTokenizer.map(GgufPreTokenizer::addsBos).orElse(true);
    return metadata.bool(PREFIX + "add_bos_token").orElse(usual);
  }

  /** Returns whether the end of a text is marked. */
  boolean addsEos() {
    return metadata.bool(PREFIX + "add_eos_token").orElse(false);
  }

  /** Returns whether a text is taken to begin with a space; of kind {@code llama} only. */
  boolean addsSpace() {
    return metadata.bool(PREFIX + "add_space_prefix").orElse(true);
  }

  /** Returns whether characters without a token are spelled in bytes. */
  boolean hasByteTokens() {
    return Arrays.asList(types).contains(TokenType.BYTE);
  }

  /** Returns the template that turns a conversation into a text. */
  Optional<String> chatTemplate() {
    return metadata.string("tokenizer.chat_template");
  }

  /** Returns whether a token steers the model and is never part of a text. */
  boolean isSpecial(int id) {
    return types[id] == TokenType.CONTROL
        || types[id] == TokenType.UNKNOWN
        || is(bosId, id)
        || is(eosId, id)
        || is(unknownId, id);
  }

  private static boolean is(OptionalInt known, int id) {
    return known.isPresent() && known.getAsInt() == id;
  }

  private static Kind readKind(GgufMetadata metadata) {
    String model = metadata.requiredString(MODEL);
    return switch (model) {
      case "llama" -> Kind.LLAMA;
      case "gpt2" -> Kind.GPT2;
      default -> throw metadata.unsupported(MODEL, Messages.quote(model), "llama, gpt2");
    };
  }

  private GgufPreTokenizer readPreTokenizer() {
    Optional<String> name = metadata.string(PRE);
    if (name.isEmpty()) {
      notes.add(
          "metadata key '%s' is missing; the text is cut as llama.cpp's default does it, which may"
                  .formatted(PRE)
              + " not be what the model was trained with");
      return GgufPreTokenizer.DEFAULT;
    }
    return GgufPreTokenizer.named(name.get())
        .orElseThrow(
            () -> metadata.unsupported(PRE, Messages.quote(name.get()), GgufPreTokenizer.names()));
  }

  private List<String> readTokens() {
    List<String> found =
        metadata.strings(TOKENS).orElseThrow(() -> metadata.missing(TOKENS, "an array of strings"));
    if (found.isEmpty()) {
      throw metadata.invalid(TOKENS, "empty", "one token at least");
    }
    List<String> named = new ArrayList<>(found.size());
    for (int id = 0; id < found.size(); id++) {
      String token = found.get(id);
      if (token.length() > MAX_TOKEN_CHARACTERS) {
        throw metadata.invalid(
            TOKENS,
            "an array whose token %d has %d characters".formatted(id, token.length()),
            "at most " + MAX_TOKEN_CHARACTERS);
      }
      // A token without a name cannot be written; nothing in a text stands for it.
      String name = token.isEmpty() ? "[EMPTY_" + id + "]" : token;
      Integer before = ids.putIfAbsent(name, id);
      if (before != null) {
        throw metadata.invalid(
            TOKENS,
            "an array where %s has the ids %d and %d".formatted(Messages.quote(name), before, id),
            "every token once");
      }
      named.add(name);
    }
    return List.copyOf(named);
  }

  private TokenType[] readTypes() {
    TokenType[] read = new TokenType[tokens.size()];
    Optional<int[]> numbers = metadata.integers(TYPES);
    if (numbers.isEmpty()) {
      notes.add(
          "metadata key '%s' is missing; it is guessed which tokens are bytes".formatted(TYPES));
      for (int id = 0; id < read.length; id++) {
        boolean isByte = kind == Kind.LLAMA && BYTE_TOKEN.matcher(tokens.get(id)).matches();
        read[id] = isByte ? TokenType.BYTE : TokenType.NORMAL;
      }
      return read;
    }
    requireLength(TYPES, numbers.get().length);
    TokenType[] known = TokenType.values();
    for (int id = 0; id < read.length; id++) {
      int number = numbers.get()[id];
      if (number < 1 || number > known.length) {
        throw metadata.invalid(
            TYPES,
            "an array with %d for token %d".formatted(number, id),
            "1 to %d".formatted(known.length));
      }
      read[id] = known[number - 1];
    }
    return read;
  }

  private void requireLength(String key, int length) {
    if (length != tokens.size()) {
      throw metadata.invalid(
          key,
          "an array of %d values".formatted(length),
          "one for each of the %d tokens".formatted(tokens.size()));
    }
  }

  private List<Merge> readMerges() {
    List<String> found =
        metadata.strings(MERGES).orElseThrow(() -> metadata.missing(MERGES, "an array of strings"));
    List<Merge> read = new ArrayList<>(found.size());
    for (int i = 0; i < found.size(); i++) {
      String merge = found.get(i);
      // The first token may itself be a space.
      int space = merge.indexOf(' ', 1);
      String left = space < 0 ? "" : merge.substring(0, space);
      String right = space < 0 ? "" : merge.substring(space + 1);
      Integer leftId = ids.get(left);
      Integer rightId = ids.get(right);
      if (leftId == null || rightId == null || !ids.containsKey(left + right)) {
        throw metadata.invalid(
            MERGES,
            "an array where merge %d is %s".formatted(i, Messages.quote(merge)),
            "two tokens with a space between, which together are a token");
      }
      read.add(new Merge(leftId, rightId));
    }
    return read;
  }

  /**
   * Finds the merges that give the same tokens as joining, again and again, the two neighbours
   * whose union has the highest score. For two ways to the same token, and for equal scores, the
   * order is that of the ids, as in other conversions.
   */
  private List<Merge> scoredMerges() {
    float[] scores =
        metadata.floats(SCORES).orElseThrow(() -> metadata.missing(SCORES, "an array of numbers"));
    requireLength(SCORES, scores.length);
    record Scored(float score, Merge merge) {}
    List<Scored> scored = new ArrayList<>();
    for (int id = 0; id < scores.length; id++) {
      if (!Float.isFinite(scores[id])) {
        throw metadata.invalid(
            SCORES, "an array with %s for token %d".formatted(scores[id], id), "finite numbers");
      }
      // Positive and negative zero are one score.
      float score = scores[id] + 0f;
      if (isTextual(id)) {
        splits(id).forEach(merge -> scored.add(new Scored(score, merge)));
      }
    }
    scored.sort((a, b) -> Float.compare(b.score(), a.score()));
    return scored.stream().map(Scored::merge).toList();
  }

  /** Returns whether a token of kind {@code llama} stands for characters of a text. */
  private boolean isTextual(int id) {
    return switch (types[id]) {
      case NORMAL, USER_DEFINED, UNUSED -> true;
      case UNKNOWN, CONTROL, BYTE -> false;
    };
  }

  private List<Merge> splits(int id) {
    String token = tokens.get(id);
    if (token.length() > MAX_SCORED_CHARACTERS) {
      throw metadata.invalid(
          TOKENS,
          "an array whose token %d has %d characters".formatted(id, token.length()),
          "at most %d in a vocabulary with scores".formatted(MAX_SCORED_CHARACTERS));
    }
    List<Merge> splits = new ArrayList<>();
    for (int at = 1; at < token.length(); at++) {
      if (Character.isLowSurrogate(token.charAt(at))) {
        continue;
      }
      Integer left = ids.get(token.substring(0, at));
      Integer right = left == null ? null : ids.get(token.substring(at));
      if (left != null && right != null && isTextual(left) && isTextual(right)) {
        splits.add(new Merge(left, right));
      }
    }
    splits.sort(
        (a, b) ->
            a.left() != b.left()
                ? Integer.compare(a.left(), b.left())
                : Integer.compare(a.right(), b.right()));
    return splits;
  }

  private void checkByteTokens() {
    int count = 0;
    for (int id = 0; id < types.length; id++) {
      if (types[id] == TokenType.BYTE) {
        count++;
        if (!BYTE_TOKEN.matcher(tokens.get(id)).matches()) {
          throw metadata.invalid(
              TYPES,
              "'byte' for token %d, %s".formatted(id, Messages.quote(tokens.get(id))),
              "a name from <0x00> to <0xFF>");
        }
      }
    }
    if (count != 0 && count != BYTES) {
      throw metadata.invalid(
          TOKENS, "an array with %d byte tokens".formatted(count), "none or 256");
    }
    if (count != 0 && kind == Kind.GPT2) {
      throw metadata.unsupported(
          TYPES, "'byte' for tokens of a byte-level vocabulary", "other types");
    }
  }

  private void checkEnds() {
    if (addsBos() && bosId.isEmpty()) {
      throw metadata.missing(PREFIX + "bos_token_id", "the id of the token before a text");
    }
    if (addsEos() && eosId.isEmpty()) {
      throw metadata.missing(PREFIX + "eos_token_id", "the id of the token after a text");
    }
  }

  /** Returns a special id; of kind {@code llama} there are usual ones, where the file has none. */
  private OptionalInt id(String name, int usual) {
    String key = PREFIX + name;
    Optional<Integer> id = metadata.integer(key);
    if (id.isEmpty()) {
      return kind == Kind.LLAMA && usual >= 0 && usual < tokens.size()
          ? OptionalInt.of(usual)
          : OptionalInt.empty();
    }
    if (id.get() >= tokens.size()) {
      throw metadata.invalid(
          key,
          id.get().toString(),
          "an id below %d, the number of tokens".formatted(tokens.size()));
    }
    return OptionalInt.of(id.get());
  }
}
