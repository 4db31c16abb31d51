package io.llara.train.data;

import io.llara.LlaraException;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Texts to train on: JSONL files, {@code .gz} among them, and how they are read.
 *
 * <p>A line is a JSON object of one of two forms; files may mix them, other keys are passed over:
 *
 * <ul>
 *   <li>{@code {"input": …, "output_summarize": …, "output_predict": …}}, as the released code has
 *       it: a text, and what its SELF and NEXT embeddings must predict.
 *   <li>{@code {"id": …, "title": …, "text": …}}: a document, paragraphs separated by {@code \n};
 *       {@code id} and {@code title} may be absent, and the title is not read. It is cut into
 *       passages of whole sentences up to a budget of tokens. Passage k with passage k + 1 makes
 *       one training text: SELF must predict the words of the one, NEXT those of the other. The
 *       last passage has no next and only serves as one.
 * </ul>
 *
 * <pre>{@code
 * TextSource source =
 *     TextSource.builder(List.of(Path.of("wikipedia.jsonl.gz")))
 *         .tokenizer(tokenizer)
 *         .passageTokens(128)
 *         .heldOut(0.02, false)
 *         .build();
 * try (TextStream texts = source.open()) {
 *   texts.forEachRemaining(text -> train(text));
 * }
 * }</pre>
 *
 * <p>A document is held out by a hash of its id, or of its text if it has none. A pair counts as a
 * document. Those that were cut from one document share texts, one's next being another's own, and
 * should carry an {@code id} in common to stay on one side.
 *
 * <p>Immutable and thread-safe; it uses the tokenizer and does not close it.
 */
public final class TextSource extends JsonlSource<TrainingText> {
  /** The most tokens in a passage unless said otherwise. */
  public static final int DEFAULT_PASSAGE_TOKENS = 256;

  /** Fewer might not hold one character: four bytes, each a token, and a space before them. */
  public static final int MIN_PASSAGE_TOKENS = 8;

  private final Optional<Tokenizer> tokenizer;
  private final int passageTokens;
  private final StopWords stopWords;
  private final boolean stripTargets;
  private final Kind kind;

  /** What the lines become. */
  public enum Kind {
    /** Texts with targets, for EBAE and EBAR. */
    PASSAGE_PAIRS,
    /**
     * Texts without targets, for language modelling: all passages of a document, the last one too,
     * and the {@code input} of a pair.
     */
    PLAIN_TEXTS
  }

  private TextSource(Builder builder) {
    super(builder);
    this.tokenizer = builder.tokenizer;
    this.passageTokens = builder.passageTokens;
    this.stopWords = builder.stopWords;
    this.stripTargets = builder.stripTargets;
    this.kind = builder.kind;
  }

  /**
   * Returns a builder of a source.
   *
   * @param files the files, read in this order
   */
  public static Builder builder(List<Path> files) {
    return new Builder(files);
  }

  @Override
  public TextStream open() {
    return new TextStream(this);
  }

  @Override
  String noun() {
    return kind == Kind.PASSAGE_PAIRS ? "pair" : "text";
  }

  @Override
  String shortBecause() {
    return "too short for two passages of up to %d tokens".formatted(passageTokens);
  }

  /** Returns what is wrong with a budget of tokens for passages. */
  static List<String> passageProblems(int passageTokens) {
    return passageTokens < MIN_PASSAGE_TOKENS
        ? List.of("passageTokens is %d, at least %d".formatted(passageTokens, MIN_PASSAGE_TOKENS))
        : List.of();
  }

  /** Returns the passages of a document, by a splitter of the caller's own; or fails. */
  PassageSplitter splitter() {
    Tokenizer counter =
        tokenizer.orElseThrow(
            () ->
                new IllegalStateException(
                    names()
                        + " has documents, but this TextSource was built without a tokenizer to cut"
                        + " them into passages"));
    return new PassageSplitter(text -> counter.encodeText(text).length, passageTokens);
  }

  Kind kind() {
    return kind;
  }

  String target(String text) {
    return stripTargets ? stopWords.strip(text) : text;
  }

  /** Collects the settings of a source. Not thread-safe. */
  public static final class Builder extends JsonlSource.Builder<Builder> {
    private Optional<Tokenizer> tokenizer = Optional.empty();
    private int passageTokens = DEFAULT_PASSAGE_TOKENS;
    private StopWords stopWords = StopWords.english();
    private boolean stripTargets = true;
    private Kind kind = Kind.PASSAGE_PAIRS;

    private Builder(List<Path> files) {
      super(files);
    }

    @Override
    Builder self() {
      return this;
    }

    /** Sets the tokenizer that measures passages. Needed for documents, not for pairs. */
    public Builder tokenizer(Tokenizer tokenizer) {
      this.tokenizer = Optional.of(tokenizer);
      return this;
    }

    /**
     * Sets the most tokens in a passage of a document, at least 8; {@value
     * TextSource#DEFAULT_PASSAGE_TOKENS} by default. Sentences are counted one by one, so that a
     * whole passage may have a few more.
     */
    public Builder passageTokens(int passageTokens) {
      this.passageTokens = passageTokens;
      return this;
    }

    /** Sets the words that are left out of targets; {@link StopWords#english} by default. */
    public Builder stopWords(StopWords stopWords) {
      this.stopWords = stopWords;
      return this;
    }

    /**
     * Sets whether targets lose punctuation and stop words, by {@link StopWords#strip}, as in the
     * released recipe; true by default. Otherwise they stay as they are, as in the paper's.
     */
    public Builder stripTargets(boolean stripTargets) {
      this.stripTargets = stripTargets;
      return this;
    }

    /** Sets what the lines become; {@link Kind#PASSAGE_PAIRS} by default. */
    public Builder documentsAs(Kind kind) {
      this.kind = kind;
      return this;
    }

    /**
     * Returns the source.
     *
     * @throws IllegalArgumentException if there is no file, or a number is out of its bounds
     * @throws LlaraException if a file does not exist or is no regular file; all such are named
     */
    public TextSource build() {
      check(passageProblems(passageTokens));
      return new TextSource(this);
    }
  }
}
