package io.llara.train.data;

import io.llara.Internal;
import java.text.BreakIterator;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToIntFunction;

/**
 * Cuts a document into passages of whole sentences, each as long as a token budget allows.
 *
 * <p>A sentence is tokenised once, by itself, and the counts are added up: the passage as a whole
 * may have a few tokens more or less where a tokenizer joins across the gap. A sentence longer than
 * the budget is cut between words, and a word longer than it between characters.
 *
 * <p>Not thread-safe.
 */
@Internal
public final class PassageSplitter {
  /** Longer pieces are cut before they are tokenised; the tokenizer refuses enormous ones. */
  private static final int MOST_CHARACTERS = 1 << 16;

  private final ToIntFunction<String> tokens;
  private final int budget;
  private final BreakIterator sentences = BreakIterator.getSentenceInstance(Locale.ENGLISH);

  private List<String> passages = new ArrayList<>();
  private final StringBuilder passage = new StringBuilder();
  private int used;

  /**
   * Makes a splitter.
   *
   * @param tokens counts the tokens of a text
   * @param budget the most tokens in a passage
   */
  public PassageSplitter(ToIntFunction<String> tokens, int budget) {
    this.tokens = tokens;
    this.budget = budget;
  }

  /** Returns the passages in the order of the document; none is blank. */
  public List<String> split(String document) {
    passages = new ArrayList<>();
    // A document that the tokenizer refused may have left something.
    passage.setLength(0);
    used = 0;
    for (String paragraph : document.split("\n")) {
      sentences.setText(paragraph);
      boolean gap = true;
      int begin = sentences.first();
      for (int end = sentences.next(); end != BreakIterator.DONE; end = sentences.next()) {
        String sentence = paragraph.substring(begin, end);
        begin = end;
        if (!sentence.isBlank()) {
          addSentence(sentence.strip(), gap);
          // Chinese and Japanese have no space between sentences.
          gap = Character.isWhitespace(sentence.charAt(sentence.length() - 1));
        }
      }
    }
    finish();
    return passages;
  }

  private void addSentence(String sentence, boolean gap) {
    if (sentence.length() <= MOST_CHARACTERS) {
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
    if (word.length() <= MOST_CHARACTERS) {
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

  private void finish() {
    if (used > 0) {
      passages.add(passage.toString());
      passage.setLength(0);
      used = 0;
    }
  }
}
