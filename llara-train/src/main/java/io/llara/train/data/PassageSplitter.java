package io.llara.train.data;

import io.llara.tokenize.Tokenizer;
import java.text.BreakIterator;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToIntFunction;

/**
 * Cuts documents into passages of whole sentences, each as long as a token budget allows.
 *
 * <p>A sentence is tokenised once, by itself, and the counts are added up: the passage as a whole
 * may have a few tokens more or less where a tokenizer joins across the gap. A sentence longer than
 * the budget is cut between words, and a word longer than it between characters.
 *
 * <p>Immutable and thread-safe; it uses the tokenizer and does not close it.
 */
public final class PassageSplitter {
  /** Fewer might not hold one character: four bytes, each a token, and a space before them. */
  public static final int MIN_TOKENS = 8;

  /** Longer pieces are cut before they are tokenised; the tokenizer refuses enormous ones. */
  private static final int MAX_CHARACTERS = 1 << 16;

  private final ToIntFunction<String> tokens;
  private final int budget;

  /** Counts the tokens of a text by a function. */
  PassageSplitter(ToIntFunction<String> tokens, int budget) {
    this.tokens = tokens;
    this.budget = budget;
  }

  /**
   * Creates a splitter.
   *
   * @param tokenizer measures passages
   * @param budget the most tokens in a passage, at least 8
   * @throws IllegalArgumentException if the budget is smaller
   */
  public PassageSplitter(Tokenizer tokenizer, int budget) {
    this(text -> tokenizer.encodeText(text).length, budget);
    if (budget < MIN_TOKENS) {
      throw new IllegalArgumentException(
          "passages have up to %d tokens; expected at least %d".formatted(budget, MIN_TOKENS));
    }
  }

  int budget() {
    return budget;
  }

  /**
   * Returns the passages in the order of the document; none is blank.
   *
   * @throws io.llara.TokenizationException if a sentence cannot be tokenised
   */
  public List<String> split(String document) {
    Passages passages = new Passages();
    BreakIterator sentences = BreakIterator.getSentenceInstance(Locale.ENGLISH);
    for (String paragraph : document.split("\n")) {
      sentences.setText(paragraph);
      boolean gap = true;
      int begin = sentences.first();
      for (int end = sentences.next(); end != BreakIterator.DONE; end = sentences.next()) {
        String sentence = paragraph.substring(begin, end);
        begin = end;
        if (!sentence.isBlank()) {
          passages.addSentence(sentence.strip(), gap);
          // Chinese and Japanese have no space between sentences.
          gap = Character.isWhitespace(sentence.charAt(sentence.length() - 1));
        }
      }
    }
    passages.finish();
    return passages.finished;
  }

  /** The passages of one document. */
  private final class Passages {
    private final List<String> finished = new ArrayList<>();
    private final StringBuilder passage = new StringBuilder();
    private int used;

    void addSentence(String sentence, boolean gap) {
      if (sentence.length() <= MAX_CHARACTERS) {
        int count = tokens.applyAsInt(sentence);
        if (count <= budget) {
          append(sentence, count, gap);
          return;
        }
      }
      boolean before = gap;
      for (String word : sentence.split("\\s+")) {
        addWord(word, before);
        before = true;
      }
    }

    private void addWord(String word, boolean gap) {
      boolean single = word.codePointCount(0, word.length()) == 1;
      if (word.length() <= MAX_CHARACTERS) {
        int count = tokens.applyAsInt(word);
        if (count <= budget || single) {
          append(word, count, gap);
          return;
        }
      }
      int middle = word.length() / 2;
      if (Character.isLowSurrogate(word.charAt(middle))) {
        // Towards the end, so that the first half is never empty.
        middle++;
      }
      addWord(word.substring(0, middle), gap);
      addWord(word.substring(middle), false);
    }

    private void append(String piece, int count, boolean gap) {
      if (count == 0) {
        return;
      }
      if (used + count > budget) {
        finish();
      }
      if (gap && used > 0) {
        passage.append(' ');
      }
      passage.append(piece);
      used += count;
    }

    void finish() {
      if (used > 0) {
        finished.add(passage.toString());
        passage.setLength(0);
        used = 0;
      }
    }
  }
}
