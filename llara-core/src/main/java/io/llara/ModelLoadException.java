package io.llara;

/**
 * A model, tokenizer or settings file is missing, damaged or does not fit; the message names the
 * file and the tensor or key.
 */
public class ModelLoadException extends LlaraException {
  private static final long serialVersionUID = 1L;

  /** Creates an exception; the message says what was found, what was expected and where. */
  public ModelLoadException(String message) {
    super(message);
  }

  /** Creates an exception with the error that led to it. */
  public ModelLoadException(String message, Throwable cause) {
    super(message, cause);
  }
}
