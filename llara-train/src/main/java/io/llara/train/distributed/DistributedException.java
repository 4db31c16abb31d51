package io.llara.train.distributed;

import io.llara.LlaraException;

/**
 * The processes of a group cannot work together: one has ended, hangs, or never came. The group is
 * of no use after that; the run continues from its last checkpoint when it is started again.
 */
public class DistributedException extends LlaraException {
  private static final long serialVersionUID = 1L;

  /** Creates an exception; the message says which rank noticed, at what, and the likely reason. */
  public DistributedException(String message) {
    super(message);
  }

  /** Creates an exception with the error that led to it. */
  public DistributedException(String message, Throwable cause) {
    super(message, cause);
  }

  /** Creates an exception for a later call on a group that is broken. */
  DistributedException(DistributedException earlier) {
    super(String.valueOf(earlier.getMessage()), earlier);
  }
}
