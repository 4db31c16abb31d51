package io.llara.examples.golden;

/**
 * How far float32 may be from the float64 values of the reference: about ten times what the
 * reference itself differs by, from the table of the golden folder's description.
 */
final class Tolerances {
  private Tolerances() {}

  /** Hidden states after the last norm, of any kind of case. */
  static final double HIDDEN_STATE = 1e-4;

  /** Logits of the language model head. */
  static final double LOGITS = 1e-4;

  /** Pooled vectors before they are scaled to length 1. */
  static final double RAW_EMBEDDING = 1e-4;

  /** Pooled vectors of length 1. */
  static final double UNIT_EMBEDDING = 1e-5;

  /** Frequencies of the rotary embedding. */
  static final double INVERSE_FREQUENCY = 1e-7;

  /**
   * The least cosine of a unit embedding in bfloat16. On small random models rounding alone costs
   * up to 0.002.
   */
  static final double BFLOAT16_COSINE = 0.995;
}
