package io.llara.io;

import io.llara.Internal;
import java.util.function.Supplier;

/**
 * Keeps two things apart that may not happen at once. JavaCPP looks for a symbol with the list of
 * libraries locked, opening and closing each; glibc, which is loading a library meanwhile, has
 * locked that and waits for the list: both would wait for ever.
 */
@Internal
public final class NativeLoading {
  private NativeLoading() {}

  /** Loads a library, or looks for a symbol in all of them, while nobody else does so here. */
  public static synchronized <T> T alone(Supplier<T> action) {
    return action.get();
  }
}
