package io.llara.checkpoint.gguf;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.tokenize.BpeTokenizer;
import io.llara.tokenize.BpeTokenizer.AddedToken;
import io.llara.tokenize.BpeTokenizer.Merge;
import io.llara.tokenize.BpeTokenizer.TokenType;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The tokens of a GGUF file's metadata, checked: kinds, special ids, and the merges of byte-pair
 * encoding. Files of kind {@code llama} have no merges but scores, from which the merges follow.
 */
final class GgufVocabulary {
  static final String BOS = "bos_token";
  static final String EOS = "eos_token";
  static final String UNKNOWN = "unk_token";
  static final String PADDING = "pad_token";

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

  /** What a file calls the kind of its vocabulary. */
  enum Kind {
    /** SentencePiece: spaces are U+2581, what has no token is spelled in bytes. */
    LLAMA,
    /** Byte-level: text is cut by a pre-tokenizer, bytes are written as printable characters. */
    GPT2
  }

  private final JsonSection metadata;
  private final Kind kind;
  private final Optional<GgufPreTokenizer> preTokenizer;
  private final List<String> tokens;
  private final Map<String, Integer> ids = new LinkedHashMap<>();
  private final List<TokenType> types;
  private final List<Merge> merges;
  private final Map<String, Integer> specials = new LinkedHashMap<>();
  private final List<String> notes = new ArrayList<>();

  /**
   * Reads the vocabulary.
   *
   * @throws ModelLoadException if a key is missing or wrong
   * @throws UnsupportedModelException if the vocabulary or its pre-tokenizer is of a kind that is
   *     not known
   */
  GgufVocabulary(JsonSection metadata) {
    this.metadata = metadata;
    this.kind =
        switch (metadata.requiredString(MODEL)) {
          case "llama" -> Kind.LLAMA;
          case "gpt2" -> Kind.GPT2;
          default -> throw metadata.unsupported(MODEL, metadata.describe(MODEL), "llama, gpt2");
        };
    this.preTokenizer = kind == Kind.GPT2 ? Optional.of(readPreTokenizer()) : Optional.empty();
    this.tokens = readTokens();
    this.types = readTypes();
    this.merges = kind == Kind.GPT2 ? readMerges() : scoredMerges();
    readSpecial(BOS, "bos_token_id", 1);
    readSpecial(EOS, "eos_token_id", 2);
    readSpecial(UNKNOWN, "unknown_token_id", 0);
    readSpecial(PADDING, "padding_token_id", tokens.size());
    checkByteTokens();
    if (addsBos() && special(BOS).isEmpty()) {
      throw metadata.missing(PREFIX + "bos_token_id", "the id of the token before a text");
    }
    if (addsEos() && special(EOS).isEmpty()) {
      throw metadata.missing(PREFIX + "eos_token_id", "the id of the token after a text");
    }
  }

  Kind kind() {
    return kind;
  }

  int size() {
    return tokens.size();
  }

  String token(int id) {
    return tokens.get(id);
  }

  private TokenType type(int id) {
    return types.get(id);
  }

  /** Returns what a user should know about how the vocabulary was read. */
  List<String> notes() {
    return notes;
  }

  /** Returns the ids of the tokens with a role, by the names that Hugging Face gives the roles. */
  Map<String, Integer> specials() {
    return specials;
  }

  /** Returns the id of the token with a role. */
  Optional<Integer> special(String role) {
    return Optional.ofNullable(specials.get(role));
  }

  /** Returns the template that turns a conversation into a text. */
  Optional<String> chatTemplate() {
    return metadata.string("tokenizer.chat_template");
  }

  /** Returns the vocabulary with the steps around it. */
  BpeTokenizer tokenizer() {
    List<AddedToken> added = new ArrayList<>();
    for (int id = 0; id < size(); id++) {
      if (isSpecial(id) || type(id) == TokenType.USER_DEFINED) {
        added.add(new AddedToken(id, token(id), false, false, isSpecial(id)));
      }
    }
    return new BpeTokenizer(
        tokens,
        merges,
        added,
        steps(),
        addsBos() ? special(BOS) : Optional.empty(),
        addsEos() ? special(EOS) : Optional.empty());
  }

  private BpeTokenizer.Steps steps() {
    if (preTokenizer.isPresent()) {
      return new BpeTokenizer.ByteLevel(
          preTokenizer.get().toJson(), preTokenizer.get().ignoresMerges());
    }
    boolean addsSpace = metadata.bool(PREFIX + "add_space_prefix").orElse(true);
    return new BpeTokenizer.SentencePiece(
        addsSpace ? BpeTokenizer.Space.BEFORE_EACH_PART : BpeTokenizer.Space.NOWHERE,
        special(UNKNOWN).map(this::token),
        types.contains(TokenType.BYTE));
  }

  private boolean addsBos() {
    boolean usual = preTokenizer.map(GgufPreTokenizer::addsBos).orElse(true);
    return metadata.bool(PREFIX + "add_bos_token").orElse(usual);
  }

  private boolean addsEos() {
    return metadata.bool(PREFIX + "add_eos_token").orElse(false);
  }

  /** Returns whether a token steers the model and is never part of a text. */
  private boolean isSpecial(int id) {
    return type(id) == TokenType.CONTROL
        || type(id) == TokenType.UNKNOWN
        || Stream.of(BOS, EOS, UNKNOWN).anyMatch(role -> special(role).equals(Optional.of(id)));
  }

  private GgufPreTokenizer readPreTokenizer() {
    Optional<String> name = metadata.string(PRE);
    if (name.isEmpty()) {
      notes.add(
          "metadata key '%s' is missing; text is split as llama.cpp's default does, which may not"
                  .formatted(PRE)
              + " be what the model was trained with");
      return GgufPreTokenizer.DEFAULT;
    }
    return GgufPreTokenizer.named(name.get())
        .orElseThrow(
            () -> metadata.unsupported(PRE, Messages.quote(name.get()), GgufPreTokenizer.names()));
  }

  private List<String> readTokens() {
    List<String> found =
        metadata.strings(TOKENS).orElseThrow(() -> metadata.missing(TOKENS, "a list of strings"));
    if (found.isEmpty()) {
      throw metadata.invalid(TOKENS, "empty", "one token at least");
    }
    for (int id = 0; id < found.size(); id++) {
      String token = found.get(id);
      requireLength(id, token, MAX_TOKEN_CHARACTERS, "");
      // A token without a name cannot be written; nothing in a text stands for it.
      String name = token.isEmpty() ? "[EMPTY_" + id + "]" : token;
      Integer before = ids.putIfAbsent(name, id);
      if (before != null) {
        throw metadata.invalid(
            TOKENS,
            "a list where %s has the ids %d and %d".formatted(Messages.quote(name), before, id),
            "every token once");
      }
    }
    return List.copyOf(ids.keySet());
  }

  private void requireLength(int id, String token, int most, String where) {
    if (token.length() > most) {
      throw metadata.invalid(
          TOKENS,
          "a list whose token %d has %d characters".formatted(id, token.length()),
          "at most " + most + where);
    }
  }

  private List<TokenType> readTypes() {
    if (!metadata.has(TYPES)) {
      notes.add("metadata key '%s' is missing; which tokens are bytes is guessed".formatted(TYPES));
      return tokens.stream()
          .map(
              token ->
                  kind == Kind.LLAMA && BpeTokenizer.namesByte(token)
                      ? TokenType.BYTE
                      : TokenType.NORMAL)
          .toList();
    }
    List<TokenType> known = List.of(TokenType.values());
    List<Integer> numbers = oneEach(TYPES, metadata.integers(TYPES));
    List<TokenType> read = new ArrayList<>(numbers.size());
    for (int number : numbers) {
      if (number < 1 || number > known.size()) {
        throw metadata.invalid(
            TYPES,
            "a list with %d for token %d".formatted(number, read.size()),
            "1 to %d".formatted(known.size()));
      }
      read.add(known.get(number - 1));
    }
    return read;
  }

  private <T> List<T> oneEach(String key, List<T> values) {
    if (values.size() != tokens.size()) {
      throw metadata.invalid(
          key,
          "a list of %d values".formatted(values.size()),
          "one for each of the %d tokens".formatted(tokens.size()));
    }
    return values;
  }

  private List<Merge> readMerges() {
    List<String> found =
        metadata.strings(MERGES).orElseThrow(() -> metadata.missing(MERGES, "a list of strings"));
    List<Merge> read = new ArrayList<>(found.size());
    for (String merge : found) {
      // The first token may itself be a space.
      int space = merge.indexOf(' ', 1);
      String left = space < 0 ? "" : merge.substring(0, space);
      String right = space < 0 ? "" : merge.substring(space + 1);
      if (!Stream.of(left, right, left + right).allMatch(ids::containsKey)) {
        throw metadata.invalid(
            MERGES,
            "a list where merge %d is %s".formatted(read.size(), Messages.quote(merge)),
            "two tokens with a space between, which together are a token");
      }
      read.add(new Merge(left, right));
    }
    return read;
  }

  private List<Merge> scoredMerges() {
    List<Double> scores =
        oneEach(
            SCORES,
            metadata
                .numbers(SCORES)
                .orElseThrow(() -> metadata.missing(SCORES, "a list of numbers")));
    for (int id = 0; id < size(); id++) {
      if (isTextual(id)) {
        requireLength(id, token(id), MAX_SCORED_CHARACTERS, " in a vocabulary with scores");
      }
    }
    return BpeTokenizer.mergesOf(tokens, scores, this::isTextual);
  }

  /** Returns whether a token of kind {@code llama} stands for characters of a text. */
  private boolean isTextual(int id) {
    return switch (type(id)) {
      case NORMAL, USER_DEFINED, UNUSED -> true;
      case UNKNOWN, CONTROL, BYTE -> false;
    };
  }

  private void checkByteTokens() {
    int count = Collections.frequency(types, TokenType.BYTE);
    for (int id = 0; id < size(); id++) {
      if (type(id) == TokenType.BYTE && !BpeTokenizer.namesByte(token(id))) {
        throw metadata.invalid(
            TYPES,
            "'byte' for token %d, %s".formatted(id, Messages.quote(token(id))),
            "a name from <0x00> to <0xFF>");
      }
    }
    if (count != 0 && count != BpeTokenizer.BYTES) {
      throw metadata.invalid(TOKENS, "a list with %d byte tokens".formatted(count), "none or 256");
    }
    if (count != 0 && kind == Kind.GPT2) {
      throw metadata.unsupported(
          TYPES, "'byte' for tokens of a byte-level vocabulary", "other types");
    }
  }

  /** Reads a special id; of kind {@code llama} there are usual ones, where the file has none. */
  private void readSpecial(String role, String name, int usual) {
    String key = PREFIX + name;
    int id = metadata.integer(key).orElse(kind == Kind.LLAMA ? usual : size());
    if (metadata.has(key) && (id < 0 || id >= size())) {
      throw metadata.invalid(
          key, metadata.describe(key), "an id below %d, the number of tokens".formatted(size()));
    }
    if (id < size()) {
      specials.put(role, id);
    }
  }
}
