package io.llara.examples.golden;

/**
 * How far float32 may be from the float64 values of the reference: about ten times what the
 * reference's own float32 differs by, from the table of the golden folder's description.
 */
enum Tolerance {
  /** Hidden states after the last norm, of any kind of case. */
  HIDDEN_STATE(1e-4),

  /** Logits of the language model head. */
  LOGITS(1e-4),

  /** Pooled vectors before they are scaled to length 1. */
  RAW_EMBEDDING(1e-4),

  /** Pooled vectors of length 1. */
  UNIT_EMBEDDING(1e-5),

  /** Frequencies of the rotary embedding. */
  INVERSE_FREQUENCY(1e-7),

  /** An adaptation loss, and its next-token term. */
  LOSS(2e-5),

  /** The loss term of an embedding, divided by 10. */
  BAG_LOSS(2e-6),

  /** An element of a gradient of adaptation. */
  GRADIENT(5e-5),

  /** The norm of a gradient of adaptation: of one parameter, or of all. */
  GRADIENT_NORM(1e-4),

  /** A score of normalised embeddings, divided by a temperature of some hundredths. */
  SCORE(2e-4),

  /** A contrastive loss. */
  CONTRASTIVE_LOSS(1e-4),

  /** An element of a contrastive gradient, and its norm. */
  CONTRASTIVE_GRADIENT(5e-4),

  /** The loss of a training step, and each of its terms. */
  STEP_LOSS(1e-4),

  /** The norm of the gradient over all parameters in a training step. */
  STEP_GRADIENT_NORM(5e-4),

  /**
   * A weight after some training steps: where a gradient is close to 0, Adam turns its rounding
   * error into a part of the learning rate.
   */
  FINAL_WEIGHT(1e-3, 1e-5),

  /** The norm of a parameter after some training steps. */
  FINAL_NORM(2e-3);

  /** The most that any element may differ by. */
  final double worst;

  /**
   * What all but one element in a thousand must keep to; {@link #worst} if there is no such rule.
   */
  final double most;

  Tolerance(double worst) {
    this(worst, worst);
  }

  Tolerance(double worst, double most) {
    this.worst = worst;
    this.most = most;
  }
}
