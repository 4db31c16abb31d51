package io.llara.train.data;

import com.google.common.collect.ImmutableList;
import io.llara.LlaraException;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

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
 * <p>Nothing is kept in memory but the line at hand. A source can be opened any number of times and
 * gives the same texts in the same order while its files stay as they are. Immutable and
 * thread-safe; it uses the tokenizer and does not close it.
 */
public final class TextSource {
  private static final Logger LOG = LoggerFactory.getLogger(TextSource.class);
  private static final int LOGGED_LINES = 10;

  /** The most tokens in a passage unless said otherwise. */
  public static final int DEFAULT_PASSAGE_TOKENS = 256;

  /** Fewer might not hold one character: four bytes, each a token, and a space before them. */
  private static final int LEAST_PASSAGE_TOKENS = 8;

  private final ImmutableList<Path> files;
  private final BadLines badLines;
  private final Optional<Tokenizer> tokenizer;
  private final int passageTokens;
  private final StopWords stopWords;
  private final boolean stripTargets;
  private final Kind kind;
  private final double fraction;
  private final boolean heldOutWanted;
  private final AtomicInteger logged = new AtomicInteger();

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
    this.files = builder.files;
    this.badLines = builder.badLines;
    this.tokenizer = builder.tokenizer;
    this.passageTokens = builder.passageTokens;
    this.stopWords = builder.stopWords;
    this.stripTargets = builder.stripTargets;
    this.kind = builder.kind;
    this.fraction = builder.fraction;
    this.heldOutWanted = builder.heldOutWanted;
  }

  /**
   * Returns a builder of a source.
   *
   * @param files the files, read in this order
   */
  public static Builder builder(List<Path> files) {
    return new Builder(files);
  }

  /** Begins a pass over the files; the caller closes it. */
  public TextStream open() {
    return new TextStream(this);
  }

  /** Reads everything once and returns what it found. Takes as long as that takes. */
  public TextStatistics count() {
    try (TextStream stream = open()) {
      while (stream.hasNext()) {
        stream.next();
      }
      return stream.statistics();
    }
  }

  /**
   * Makes sure that there is something to train on; reads up to the first text.
   *
   * @throws LlaraException if there is no text; says what there is instead. Also as {@link
   *     TextStream#hasNext}
   */
  public void requireTexts() {
    try (TextStream stream = open()) {
      if (!stream.hasNext()) {
        throw noTexts(stream.statistics());
      }
    }
  }

  LlaraException noTexts(TextStatistics found) {
    String what = kind == Kind.PASSAGE_PAIRS ? "usable pair" : "usable text";
    if (found.lines() == 0) {
      return new LlaraException(names() + ": no " + what + ": there is no line in it");
    }
    StringBuilder message = new StringBuilder(names()).append(": no ").append(what).append(" in ");
    message.append(found.lines()).append(found.lines() == 1 ? " line" : " lines").append(": ");
    List<String> reasons = new ArrayList<>();
    if (found.badLines() > 0) {
      reasons.add(found.badLines() + " bad");
    }
    if (found.shortDocuments() > 0) {
      reasons.add(
          "%d too short for two passages of up to %d tokens"
              .formatted(found.shortDocuments(), passageTokens));
    }
    if (found.otherPart() > 0) {
      reasons.add(
          "%d %s"
              .formatted(
                  found.otherPart(), heldOutWanted ? "for training, none held out" : "held out"));
    }
    return new LlaraException(message.append(String.join(", ", reasons)).toString());
  }

  private String names() {
    String first = files.stream().limit(3).map(Path::toString).collect(Collectors.joining(", "));
    return files.size() > 3 ? first + " and " + (files.size() - 3) + " more" : first;
  }

  List<Path> files() {
    return files;
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

  /** Returns whether a line belongs to the part of the split that is wanted. */
  boolean wants(DataLine line) {
    return fraction == 0 || line.isHeldOut(fraction) == heldOutWanted;
  }

  Kind kind() {
    return kind;
  }

  String target(String text) {
    return stripTargets ? stopWords.strip(text) : text;
  }

  /** Refuses a line that cannot be used, or logs it; logs of all passes count together. */
  void bad(String origin, BadLineException reason) {
    String message = origin + ": " + reason.getMessage();
    if (badLines == BadLines.REFUSE) {
      throw new LlaraException(message, reason);
    }
    int before = logged.getAndUpdate(n -> Math.min(n + 1, LOGGED_LINES));
    if (before < LOGGED_LINES) {
      LOG.warn(
          "skipped: {}{}",
          message,
          before + 1 < LOGGED_LINES ? "" : " (more bad lines are counted, not shown)");
    }
  }

  /** Returns the files. */
  @Override
  public String toString() {
    return names();
  }

  /** Collects the settings of a source. Not thread-safe. */
  public static final class Builder {
    private final ImmutableList<Path> files;
    private BadLines badLines = BadLines.REFUSE;
    private Optional<Tokenizer> tokenizer = Optional.empty();
    private int passageTokens = DEFAULT_PASSAGE_TOKENS;
    private StopWords stopWords = StopWords.english();
    private boolean stripTargets = true;
    private Kind kind = Kind.PASSAGE_PAIRS;
    private double fraction;
    private boolean heldOutWanted;

    private Builder(List<Path> files) {
      this.files = ImmutableList.copyOf(files);
    }

    /** Sets what happens to a line that cannot be used; {@link BadLines#REFUSE} by default. */
    public Builder badLines(BadLines badLines) {
      this.badLines = badLines;
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
     * Splits the data set by document and takes one part. A document falls on one side by a hash of
     * its id, or of its text if it has none, so that it stays there whatever else is in the files.
     * By default there is no split.
     *
     * <p>A pair counts as a document. Those that were cut from one document share texts, one's next
     * being another's own, and should carry an {@code id} in common to stay on one side.
     *
     * @param fraction how much is held out, from 0 (nothing, no split) to below 1
     * @param wanted true for the held-out part, false for the rest
     */
    public Builder heldOut(double fraction, boolean wanted) {
      this.fraction = fraction;
      this.heldOutWanted = wanted;
      return this;
    }

    /**
     * Returns the source.
     *
     * @throws IllegalArgumentException if there is no file, or a number is out of its bounds
     * @throws LlaraException if a file does not exist or is no regular file; all such are named
     */
    public TextSource build() {
      List<String> problems = new ArrayList<>();
      if (files.isEmpty()) {
        problems.add("there is no data file");
      }
      if (passageTokens < LEAST_PASSAGE_TOKENS) {
        problems.add(
            "passageTokens is %d, at least %d".formatted(passageTokens, LEAST_PASSAGE_TOKENS));
      }
      if (!(fraction >= 0 && fraction < 1)) {
        problems.add("the held-out fraction is %s, expected from 0 to below 1".formatted(fraction));
      } else if (fraction == 0 && heldOutWanted) {
        problems.add("the held-out part is wanted, but its fraction is 0");
      }
      if (!problems.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", problems));
      }
      String wrong =
          files.stream()
              .filter(file -> !Files.isRegularFile(file))
              .map(file -> file + (Files.exists(file) ? ": is no regular file" : ": no such file"))
              .collect(Collectors.joining("; "));
      if (!wrong.isEmpty()) {
        throw new LlaraException(wrong + "; expected JSONL files to train on");
      }
      return new TextSource(this);
    }
  }
}
