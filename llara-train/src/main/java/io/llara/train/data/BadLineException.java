package io.llara.train.data;

/** A line cannot be used; the message says why. Its reader adds file and line. */
final class BadLineException extends Exception {
  private static final long serialVersionUID = 1L;

  BadLineException(String reason) {
    super(reason);
  }

  BadLineException(String reason, Throwable cause) {
    super(reason, cause);
  }
}
