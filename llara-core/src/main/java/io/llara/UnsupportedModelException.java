package io.llara;

/**
 * A file is well-formed but describes something this library does not support; the message names it
 * and what is supported.
 */
public class UnsupportedModelException extends ModelLoadException {
  private static final long serialVersionUID = 1L;

  /** Creates an exception; the message says what was found, what was expected and where. */
  public UnsupportedModelException(String message) {
    super(message);
  }

  /** Creates an exception with the error that led to it. */
  public UnsupportedModelException(String message, Throwable cause) {
    super(message, cause);
  }
}
