package io.llara.tokenize;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import com.google.common.primitives.ImmutableIntArray;
import com.google.gson.JsonObject;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.TokenizationException;
import io.llara.UnsupportedModelException;
import io.llara.tokenize.NativeTokenizer.NativeTokenizerException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The tokenizer of a model directory: from text to token ids and back.
 *
 * <p>Text is always text. A text that spells {@code </s>} or {@code <unk>} becomes the ids of those
 * characters, never the id of that token: texts go through a tokenizer made of the same file
 * without its special tokens. Ids of such tokens are asked for by name, with {@link #tokenId}.
 * Added tokens that are not special are ordinary vocabulary, found in texts as Hugging Face's
 * library finds them. Nothing is truncated or padded, and no token is put around a text.
 *
 * <p>Holds native memory until it is closed; nothing waits for the garbage collector. Thread-safe:
 * any number of threads may encode at once, and {@link #close} waits for them.
 *
 * <pre>{@code
 * try (Tokenizer tokenizer = Tokenizer.load(Path.of("model-dir"))) {
 *   int[] ids = tokenizer.encodeText("What is llama?");
 * }
 * }</pre>
 */
public final class Tokenizer implements AutoCloseable {
  /**
   * The native library's regular expressions give up, and end the JVM, after ten million steps,
   * which a run of that many spaces takes.
   */
  private static final int MOST_CHARACTERS = 1 << 22;

  private final Path file;
  private final Set<String> matched;
  private final Set<String> reserved;
  private final Map<Set<String>, Tokenizer> reserving = new HashMap<>();
  private final ImmutableIntArray bosIds;
  private final ImmutableIntArray closingIds;
  private final Map<String, Integer> ids;
  private final Map<Integer, String> names;
  private final Optional<String> eosToken;
  private final Optional<String> unkToken;
  private final int vocabularySize;
  private final NativeTokenizer encoder;

  /** The file of {@link #decoder}, which few need. */
  private final String decoding;

  private @Nullable NativeTokenizer decoder;
  private boolean closed;

  private Tokenizer(TokenizerJson json, Path file, Optional<String> eosToken, Set<String> reserved)
      throws NativeTokenizerException {
    this.file = file;
    this.reserved = reserved;
    this.matched = ImmutableSet.copyOf(Sets.difference(json.matched(), reserved));
    this.bosIds = json.bosIds();
    this.closingIds = json.closingIds();
    this.ids = json.ids();
    this.names = json.names();
    this.eosToken = eosToken;
    this.unkToken = json.unkToken();
    this.vocabularySize = Collections.max(names.keySet()) + 1;
    this.decoding = json.decoding(Integer.MAX_VALUE);
    // What the library refuses is refused now.
    create(json.decoding(1)).close();
    this.encoder = create(json.plain(Sets.union(reserved, eosToken.map(Set::of).orElse(Set.of()))));
  }

  private NativeTokenizer create(String json) throws NativeTokenizerException {
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(json)) {
      throw new ModelLoadException(file + " has a string with half of a surrogate pair");
    }
    return new NativeTokenizer(json);
  }

  /**
   * Loads the tokenizer of a model directory: {@code tokenizer.json} or, where there is none, a
   * SentencePiece {@code tokenizer.model} with the tokens that the files beside it add. The name of
   * the end-of-sequence token comes from {@code tokenizer_config.json}, {@code
   * special_tokens_map.json} or, as an id, {@code config.json}, whichever has one first.
   *
   * @param modelDir the directory; the caller closes the tokenizer
   * @throws ModelLoadException if a file is missing, broken or contradicts itself; names it
   * @throws UnsupportedModelException if the tokenizer is of a kind that is not supported: BPE and
   *     Unigram are, with the steps that LLaMA-like models use
   * @throws LlaraException if the native tokenizers library cannot be loaded
   */
  public static Tokenizer load(Path modelDir) {
    return load(modelDir, Set.of());
  }

  private static Tokenizer load(Path modelDir, Set<String> reserved) {
    TokenizerJson json = TokenizerJson.read(modelDir);
    Optional<String> eosToken = EosToken.find(modelDir, json.ids(), json.names());
    try {
      return new Tokenizer(json, json.file(), eosToken, reserved);
    } catch (NativeTokenizerException e) {
      throw new ModelLoadException(json.file() + ": " + e.getMessage(), e);
    }
  }

  /**
   * Returns the tokenizer.json that a slow tokenizer is converted to, if a directory has no other.
   *
   * @throws ModelLoadException as {@link #load}
   */
  @Internal
  public static Optional<JsonObject> converted(Path modelDir) {
    return SlowTokenizer.convert(modelDir);
  }

  /**
   * Returns this tokenizer, or one of the same files to which these tokens are special too: what
   * steers a model must not be spelled by a text, whatever the file says. It is closed with this
   * one.
   *
   * @throws ModelLoadException as {@link #load}
   */
  public synchronized Tokenizer reserving(Collection<String> tokens) {
    Set<String> more = ImmutableSet.copyOf(Sets.intersection(Set.copyOf(tokens), matched));
    return more.isEmpty()
        ? this
        : reserving.computeIfAbsent(
            ImmutableSet.copyOf(Sets.union(reserved, more)),
            names -> load(file.resolveSibling(""), names));
  }

  /**
   * Returns the ids that the tokenizer's own post-processor puts before a text, BOS as a rule;
   * possibly none.
   */
  public int[] bosIds() {
    return bosIds.toArray();
  }

  /**
   * Returns the ids that the tokenizer's own post-processor puts after a text, EOS where it puts
   * one; possibly none.
   */
  public int[] closingIds() {
    return closingIds.toArray();
  }

  /**
   * Returns the ids of a text {@code [tokens]}, without BOS or EOS. No special token is among them,
   * whatever the text spells. The empty text has none.
   *
   * @throws TokenizationException if the text contains half of a surrogate pair, or is longer than
   *     4,194,304 characters, or the tokenizer has no token for a part of it and none for unknown
   * @throws IllegalStateException if this tokenizer is closed
   */
  public int[] encodeText(String text) {
    if (text.length() > MOST_CHARACTERS) {
      throw new TokenizationException(
          "the text has %d characters; at most %d can be tokenised: split it"
              .formatted(text.length(), MOST_CHARACTERS));
    }
    requireWholeCharacters(text);
    try {
      return encoder.encode(text);
    } catch (NativeTokenizerException e) {
      throw new TokenizationException("the text cannot be tokenised: " + e.getMessage(), e);
    }
  }

  private static void requireWholeCharacters(String text) {
    int code;
    for (int i = 0; i < text.length(); i += Character.charCount(code)) {
      code = text.codePointAt(i);
      // A whole pair is one code point beyond the surrogates.
      if (Character.isBmpCodePoint(code) && Character.isSurrogate((char) code)) {
        throw new TokenizationException(
            "the text has half of a surrogate pair (U+%04X) at character %d: it is not Unicode text"
                .formatted(code, i));
      }
    }
  }

  /** Returns the id of an added or vocabulary token by its exact name, or none. */
  public OptionalInt tokenId(String token) {
    Integer id = ids.get(token);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  /**
   * Returns the name of a token.
   *
   * @throws IllegalArgumentException if no token has this id
   */
  public String token(int id) {
    String name = names.get(id);
    if (name == null) {
      throw new IllegalArgumentException("no token of " + file + " has the id " + id);
    }
    return name;
  }

  /** Returns the id of the end-of-sequence token, or none if no file names one. */
  public OptionalInt eosId() {
    return eosToken.isPresent() ? tokenId(eosToken.get()) : OptionalInt.empty();
  }

  /** Returns the name of the end-of-sequence token, or none if no file names one. */
  public Optional<String> eosToken() {
    return eosToken;
  }

  /** Returns the id of the token for what has no other, or none. */
  public OptionalInt unkId() {
    return unkToken.isPresent() ? tokenId(unkToken.get()) : OptionalInt.empty();
  }

  /** Returns one more than the largest token id: how many rows an embedding matrix needs. */
  public int vocabularySize() {
    return vocabularySize;
  }

  /**
   * Returns the text of ids, special tokens under their names. Not always the inverse of {@link
   * #encodeText}: a LLaMA tokenizer puts a space before a text and takes one away again.
   *
   * @throws IllegalArgumentException if no token has one of the ids
   * @throws IllegalStateException if this tokenizer is closed
   */
  public String decode(int[] ids) {
    for (int id : ids) {
      token(id);
    }
    try {
      return decoder().decode(ids);
    } catch (NativeTokenizerException e) {
      throw new TokenizationException("the ids cannot be decoded: " + e.getMessage(), e);
    }
  }

  private synchronized NativeTokenizer decoder() throws NativeTokenizerException {
    if (closed) {
      throw new IllegalStateException("this Tokenizer is closed");
    }
    if (decoder == null) {
      decoder = create(decoding);
    }
    return decoder;
  }

  /** Frees the native memory, after calls under way have ended. Closing twice is harmless. */
  @Override
  public synchronized void close() {
    closed = true;
    encoder.close();
    if (decoder != null) {
      decoder.close();
    }
    reserving.values().forEach(Tokenizer::close);
  }

  /** Returns the file this tokenizer was read from. */
  @Override
  public String toString() {
    return file.toString();
  }
}
