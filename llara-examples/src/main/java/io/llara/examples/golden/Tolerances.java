package io.llara.examples.golden;

/**
 * How far float32 may be from the float64 values of the reference: about ten times what the
 * reference itself differs by, from the table of the golden folder's description.
 */
final class Tolerances {
  private Tolerances() {}

  /** Hidden states after the last norm, of any kind of case. */
  static final Tolerance HIDDEN_STATE = Tolerance.of(1e-4);

  /** Logits of the language model head. */
  static final Tolerance LOGITS = Tolerance.of(1e-4);

  /** Pooled vectors before they are scaled to length 1. */
  static final Tolerance RAW_EMBEDDING = Tolerance.of(1e-4);

  /** Pooled vectors of length 1. */
  static final Tolerance UNIT_EMBEDDING = Tolerance.of(1e-5);

  /** Frequencies of the rotary embedding. */
  static final Tolerance INVERSE_FREQUENCY = Tolerance.of(1e-7);

  /** A loss of adaptation, and its next-token term. */
  static final Tolerance LOSS = Tolerance.of(2e-5);

  /** The term of an embedding, divided by 10. */
  static final Tolerance BAG_LOSS = Tolerance.of(2e-6);

  /** An element of a gradient of adaptation. */
  static final Tolerance GRADIENT = Tolerance.of(5e-5);

  /** The length of a gradient of adaptation: a parameter's, or the whole one's. */
  static final Tolerance GRADIENT_NORM = Tolerance.of(1e-4);

  /** A score of normalised embeddings, divided by a temperature of some hundredths. */
  static final Tolerance SCORE = Tolerance.of(2e-4);

  /** A contrastive loss. */
  static final Tolerance CONTRASTIVE_LOSS = Tolerance.of(1e-4);

  /** An element of a contrastive gradient, and its length. */
  static final Tolerance CONTRASTIVE_GRADIENT = Tolerance.of(5e-4);

  /** The loss of a step of training, and each of its terms. */
  static final Tolerance STEP_LOSS = Tolerance.of(1e-4);

  /** The length of the whole gradient in a step of training. */
  static final Tolerance STEP_GRADIENT_NORM = Tolerance.of(5e-4);

  /**
   * A weight after some steps of training: where a gradient is close to 0, Adam turns its rounding
   * into a part of the learning rate.
   */
  static final Tolerance FINAL_WEIGHT = new Tolerance(1e-3, 1e-5);

  /** The length of a parameter after some steps of training. */
  static final Tolerance FINAL_NORM = Tolerance.of(2e-3);

  /**
   * The least cosine of a unit embedding in bfloat16. On small random models rounding alone costs
   * up to 0.002.
   */
  static final double BFLOAT16_COSINE = 0.995;
}
