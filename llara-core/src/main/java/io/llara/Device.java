package io.llara;

/** The kind of device that runs the forward pass. */
public enum Device {
  /** The fastest device that this build supports and the machine has. */
  AUTO,
  /** The processor. */
  CPU
}
