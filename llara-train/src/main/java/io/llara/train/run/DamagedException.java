package io.llara.train.run;

import io.llara.LlaraException;

/** A checkpoint is not what was once written; another one may be. */
final class DamagedException extends LlaraException {
  private static final long serialVersionUID = 1L;

  DamagedException(String message) {
    super(message);
  }

  DamagedException(String message, Throwable cause) {
    super(message, cause);
  }
}
