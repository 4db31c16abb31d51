package io.llara.train.autograd;

import org.bytedeco.pytorch.GradMode;

/**
 * Switches autograd on or off for this thread until closed. Threads begin with it on, so that code
 * that must not record says so.
 */
public final class Recording implements AutoCloseable {
  private final boolean before;

  private Recording(boolean enabled) {
    before = GradMode.is_enabled();
    GradMode.set_enabled(enabled);
  }

  /** Records what is computed with trained tensors. */
  public static Recording on() {
    return new Recording(true);
  }

  /** Records nothing. */
  public static Recording off() {
    return new Recording(false);
  }

  @Override
  public void close() {
    GradMode.set_enabled(before);
  }
}
