package io.llara.train.data;

import com.google.common.collect.ImmutableSet;
import com.google.common.io.Resources;
import io.llara.LlaraException;
import io.llara.io.LineReader;
import io.llara.io.Messages;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Words that say little of what a text is about, and are left out of its targets. Immutable and
 * thread-safe.
 */
public final class StopWords {
  private static final Pattern WORD = Pattern.compile("[\\p{L}\\p{N}]+");
  private static final StopWords NONE = new StopWords(ImmutableSet.of());

  private final ImmutableSet<String> words;

  /** Read once, on first use. */
  private static final class English {
    private static final StopWords WORDS = new StopWords(words());

    private static ImmutableSet<String> words() {
      try {
        return Resources.readLines(
                Resources.getResource(StopWords.class, "stop-words-en.txt"), StandardCharsets.UTF_8)
            .stream()
            .filter(line -> !line.startsWith("#"))
            .collect(ImmutableSet.toImmutableSet());
      } catch (IOException e) {
        throw new UncheckedIOException("the stop words inside the library cannot be read", e);
      }
    }
  }

  private StopWords(ImmutableSet<String> words) {
    this.words = words;
  }

  /** Returns the empty list: {@link #strip} then takes away punctuation only. */
  public static StopWords none() {
    return NONE;
  }

  /**
   * Returns the English stop words that come with this library: those of the Snowball project and
   * the pieces of contractions. {@link #strip} leaves the same words as with the list of NLTK,
   * which the released code takes.
   */
  public static StopWords english() {
    return English.WORDS;
  }

  /**
   * Reads a list: UTF-8, one word a line, upper and lower case alike; blank lines count for
   * nothing. A word with punctuation in it, such as {@code you're}, is allowed and never met:
   * {@link #strip} looks at {@code you} and {@code re}.
   *
   * @throws LlaraException if the file cannot be read, is not UTF-8, has more than one word in a
   *     line (which is named), or has no word at all
   */
  public static StopWords read(Path file) {
    ImmutableSet.Builder<String> words = ImmutableSet.builder();
    try (LineReader lines = LineReader.open(file, "a list of stop words")) {
      while (lines.advanceToText()) {
        String word = lines.line().strip();
        if (word.chars().anyMatch(Character::isWhitespace)) {
          throw lines.error("is %s; expected one stop word a line".formatted(Messages.quote(word)));
        }
        words.add(lower(word));
      }
    }
    StopWords read = new StopWords(words.build());
    if (read.words.isEmpty()) {
      throw new LlaraException(file + ": has no word in it; expected one stop word a line");
    }
    return read;
  }

  /** Returns the words, in lower case. */
  public Set<String> words() {
    return words;
  }

  /**
   * Returns the words of a text that are none of these, joined by one space; possibly none.
   *
   * <p>As the released code has it: every run of characters that are neither letter nor digit, the
   * underscore among them, ends a word ({@code [\W_]+} in Python, by which a combining mark is no
   * letter), and a word is dropped if its lower case is in the list.
   */
  public String strip(String text) {
    return WORD.matcher(text)
        .results()
        .map(MatchResult::group)
        .filter(word -> !words.contains(lower(word)))
        .collect(Collectors.joining(" "));
  }

  private static String lower(String word) {
    return word.toLowerCase(Locale.ROOT);
  }
}
