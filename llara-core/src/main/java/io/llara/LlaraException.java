package io.llara;

/**
 * Base of every error this library reports about files, models, texts and devices. Bad arguments
 * are {@link IllegalArgumentException}, use after close is {@link IllegalStateException}.
 */
public class LlaraException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Creates an exception; the message says what was found, what was expected and where. */
  public LlaraException(String message) {
    super(message);
  }

  /** Creates an exception with the error that led to it. */
  public LlaraException(String message, Throwable cause) {
    super(message, cause);
  }
}
