package io.llara;

/** A text cannot be turned into tokens. */
public class TokenizationException extends LlaraException {
  private static final long serialVersionUID = 1L;

  /** Creates an exception; the message says what was found, what was expected and where. */
  public TokenizationException(String message) {
    super(message);
  }

  /** Creates an exception with the error that led to it. */
  public TokenizationException(String message, Throwable cause) {
    super(message, cause);
  }
}
