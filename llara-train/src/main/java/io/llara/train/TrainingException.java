package io.llara.train;

import io.llara.LlaraException;

/** Training cannot go on: the loss or a gradient is not a number. The last checkpoint stays. */
public class TrainingException extends LlaraException {
  private static final long serialVersionUID = 1L;

  /** Creates an exception with a message for the user. */
  public TrainingException(String message) {
    super(message);
  }
}
