package io.llara;

/**
 * A device cannot be used: there is none of that name, its driver or libraries do not fit, or it
 * failed. The message says which. Encoders on other devices, the processor among them, go on.
 */
public class DeviceException extends LlaraException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates an exception; the message says what was found, what was expected and on what device.
   */
  public DeviceException(String message) {
    super(message);
  }

  /** Creates an exception with the error that led to it. */
  public DeviceException(String message, Throwable cause) {
    super(message, cause);
  }
}
