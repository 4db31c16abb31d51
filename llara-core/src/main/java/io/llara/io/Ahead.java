package io.llara.io;

import static java.util.Objects.requireNonNull;

import com.google.common.base.Throwables;
import io.llara.Internal;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Work that is begun, on a thread of its own, before its result is needed. Thread-safe.
 *
 * @param <T> the result
 */
@Internal
public final class Ahead<T> {
  private final CompletableFuture<T> future;

  private Ahead(CompletableFuture<T> future) {
    this.future = future;
  }

  /**
   * Begins.
   *
   * @param name of the thread, which does not keep the process alive
   */
  public static <T> Ahead<T> begin(String name, Supplier<T> work) {
    return new Ahead<>(
        CompletableFuture.supplyAsync(
            work,
            task -> {
              Thread thread = new Thread(task, name);
              thread.setDaemon(true);
              thread.start();
            }));
  }

  /**
   * Waits for the result, also when this thread is interrupted meanwhile; the interrupt is kept.
   *
   * @throws RuntimeException what the work threw
   */
  public T get() {
    try {
      return future.join();
    } catch (CompletionException e) {
      Throwables.throwIfUnchecked(requireNonNull(e.getCause()));
      throw e; // A supplier throws no others.
    }
  }

  /** Waits for the work to end, and has its result closed, if there is one. */
  public void discard(Consumer<T> close) {
    try {
      close.accept(future.join());
    } catch (CompletionException e) {
      // There is nothing to close, and whoever discards it has an error of its own.
    }
  }
}
