package io.llara.prompt;

import io.llara.Mode;
import java.util.Arrays;
import java.util.Objects;

/**
 * The token ids of one prompt and where its parts lie. An immutable value.
 *
 * <p>The ids are prefix + text + SELF suffix + NEXT suffix; a prompt of one mode has one suffix, a
 * <em>joint</em> prompt both, a {@linkplain #plain plain} one neither. In a joint prompt no token
 * of the NEXT suffix may see one of the SELF suffix, and its positions restart right after the
 * text, so that each suffix sees just what it would see alone (the released Llama2Vec recipe).
 *
 * <p>Made by {@link PromptBuilder}. Thread-safe.
 */
public final class Prompt {
  private final int[] ids;
  private final TokenRange text;
  private final int nextBegin;
  private final TokenRange pooledSelf;
  private final TokenRange pooledNext;
  private final int truncatedTokens;

  /**
   * Takes over {@code ids}: the caller must not keep it.
   *
   * @param nextBegin where the SELF suffix ends, or the text if there is none
   */
  Prompt(
      int[] ids,
      TokenRange text,
      int nextBegin,
      TokenRange pooledSelf,
      TokenRange pooledNext,
      int truncatedTokens) {
    this.ids = ids;
    this.text = text;
    this.nextBegin = nextBegin;
    this.pooledSelf = pooledSelf;
    this.pooledNext = pooledNext;
    this.truncatedTokens = truncatedTokens;
  }

  /**
   * Returns a plain causal sequence: all text, no suffix, nothing to pool. For language modelling.
   *
   * @throws IllegalArgumentException if there are no ids or one is negative
   */
  public static Prompt plain(int[] ids) {
    if (ids.length == 0) {
      throw new IllegalArgumentException("a prompt needs at least one token id");
    }
    PromptBuilder.requireIds(ids, "token");
    TokenRange none = new TokenRange(ids.length, ids.length);
    return new Prompt(ids.clone(), new TokenRange(0, ids.length), ids.length, none, none, 0);
  }

  /**
   * Returns a prompt of so many tokens, all of id 0, of which nothing is pooled: for who may see
   * whom, which depends on lengths alone.
   *
   * @throws IllegalArgumentException if a length is negative, or {@code text} is 0
   */
  public static Prompt ofLengths(int text, int self, int next) {
    if (text < 1 || self < 0 || next < 0) {
      throw new IllegalArgumentException(
          "a prompt needs text and no negative suffix, not %d, %d and %d tokens"
              .formatted(text, self, next));
    }
    int selfEnd = Math.addExact(text, self);
    int end = Math.addExact(selfEnd, next);
    return new Prompt(
        new int[end],
        new TokenRange(0, text),
        selfEnd,
        new TokenRange(selfEnd, selfEnd),
        new TokenRange(end, end),
        0);
  }

  /** Returns the number of tokens. */
  public int length() {
    return ids.length;
  }

  /** Returns the token ids {@code [length]}, as a copy. */
  public int[] ids() {
    return ids.clone();
  }

  /** Returns the ids of the text alone, after any cut, as a copy. */
  public int[] textIds() {
    return Arrays.copyOfRange(ids, text.begin(), text.end());
  }

  /** Copies the token ids into {@code target} from {@code offset} on, without another array. */
  public void copyIdsTo(int[] target, int offset) {
    System.arraycopy(ids, 0, target, offset, ids.length);
  }

  /**
   * Returns the position of each token {@code [length]}, for the rotary embedding. They count from
   * 0; in a joint prompt those of the NEXT suffix restart right after the text.
   */
  public int[] positions() {
    int[] positions = new int[ids.length];
    copyPositionsTo(positions, 0, 0);
    return positions;
  }

  /**
   * Copies the positions into {@code target} from {@code offset} on, each raised by {@code first}.
   */
  public void copyPositionsTo(int[] target, int offset, int first) {
    int next = nextBegin();
    int shift = selfLength();
    for (int i = 0; i < ids.length; i++) {
      target[offset + i] = first + (i < next ? i : i - shift);
    }
  }

  /** Returns the number of tokens before the text. */
  public int prefixLength() {
    return text.begin();
  }

  /** Returns the number of tokens of the text, after any cut. */
  public int textLength() {
    return text.length();
  }

  /** Returns the number of tokens of the SELF suffix, 0 if the prompt has none. */
  public int selfLength() {
    return nextBegin() - textEnd();
  }

  /** Returns the number of tokens of the NEXT suffix, 0 if the prompt has none. */
  public int nextLength() {
    return ids.length - nextBegin();
  }

  /** Returns where the text ends and the first suffix begins. */
  public int textEnd() {
    return text.end();
  }

  /** Returns where the SELF suffix ends and the NEXT suffix begins. */
  public int nextBegin() {
    return nextBegin;
  }

  /** Returns whether the prompt has both suffixes. */
  public boolean isJoint() {
    return selfLength() > 0 && nextLength() > 0;
  }

  /** Returns the columns whose hidden states make the SELF embedding; empty if there is none. */
  public TokenRange pooledSelf() {
    return pooledSelf;
  }

  /** Returns the columns whose hidden states make the NEXT embedding; empty if there is none. */
  public TokenRange pooledNext() {
    return pooledNext;
  }

  /**
   * Returns the columns whose hidden states make the embedding of {@code mode}, or an empty one.
   */
  public TokenRange pooled(Mode mode) {
    return mode == Mode.SELF ? pooledSelf : pooledNext;
  }

  /** Returns how many ids of the text were cut off to make the prompt fit. */
  public int truncatedTokens() {
    return truncatedTokens;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Prompt that
        && Arrays.equals(ids, that.ids)
        && text.equals(that.text)
        && nextBegin == that.nextBegin
        && pooledSelf.equals(that.pooledSelf)
        && pooledNext.equals(that.pooledNext)
        && truncatedTokens == that.truncatedTokens;
  }

  @Override
  public int hashCode() {
    return Objects.hash(Arrays.hashCode(ids), text, pooledSelf);
  }

  @Override
  public String toString() {
    return "Prompt[prefix %d, text %d, self %d, next %d, truncated %d, ids %s]"
        .formatted(
            prefixLength(),
            textLength(),
            selfLength(),
            nextLength(),
            truncatedTokens,
            Arrays.toString(ids));
  }
}
