package io.llara.attention;

/**
 * How the prompts of a batch lie in its rows. An immutable value.
 *
 * @param padding where padding stands, if anywhere
 * @param multipleOf a padded batch is as wide as its longest prompt, rounded up to a multiple of
 *     this
 * @param padId the token id of padding rows
 * @param positionsCountPadding whether positions count from the first column of a padded row, as
 *     the reference does, instead of from the prompt's first token; the rotary embedding is
 *     relative, so that hidden states do not depend on it
 * @param selfVisible whether in a joint prompt NEXT sees SELF and its positions run on after it:
 *     plain causality. For measuring what the mask is for; no model is used like that
 */
public record Layout(
    Padding padding,
    int multipleOf,
    int padId,
    boolean positionsCountPadding,
    boolean selfVisible) {
  private static final Layout PACKED = new Layout(Padding.NONE, 1, 0, false, false);

  /** Where the padding of a batch stands. */
  public enum Padding {
    /** Nowhere: prompts follow one another without gap. */
    NONE,
    /** Before each prompt. */
    LEFT,
    /** After each prompt. */
    RIGHT
  }

  /** Checks the values. */
  public Layout {
    if (multipleOf < 1) {
      throw new IllegalArgumentException("multipleOf must be at least 1, not " + multipleOf);
    }
    if (padId < 0) {
      throw new IllegalArgumentException("padId must not be negative: " + padId);
    }
  }

  /** Returns the layout without padding: all prompts in one sequence of rows. */
  public static Layout packed() {
    return PACKED;
  }

  /** Returns the layout of equally wide rows with padding (id 0) before each prompt. */
  public static Layout leftPadded(int multipleOf) {
    return new Layout(Padding.LEFT, multipleOf, 0, false, false);
  }

  /** Returns the layout of equally wide rows with padding (id 0) after each prompt. */
  public static Layout rightPadded(int multipleOf) {
    return new Layout(Padding.RIGHT, multipleOf, 0, false, false);
  }

  /** Returns this layout with another token id for padding rows. */
  public Layout withPadId(int padId) {
    return new Layout(padding, multipleOf, padId, positionsCountPadding, selfVisible);
  }

  /** Returns this layout with positions that count from the first column, padding included. */
  public Layout withPositionsCountingPadding() {
    return new Layout(padding, multipleOf, padId, true, selfVisible);
  }

  /** Returns this layout with plain causality in joint prompts: NEXT sees SELF. */
  public Layout withVisibleSelf() {
    return new Layout(padding, multipleOf, padId, positionsCountPadding, true);
  }
}
