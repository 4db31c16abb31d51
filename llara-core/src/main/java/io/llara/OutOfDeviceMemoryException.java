package io.llara;

/** A device's memory does not suffice; the message says for what, and what needs less. */
public class OutOfDeviceMemoryException extends DeviceException {
  private static final long serialVersionUID = 1L;

  /** Creates an exception; the message says how much was wanted and how much there is. */
  public OutOfDeviceMemoryException(String message) {
    super(message);
  }

  /** Creates an exception with the error that led to it. */
  public OutOfDeviceMemoryException(String message, Throwable cause) {
    super(message, cause);
  }
}
