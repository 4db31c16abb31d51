package io.llara.train.mining;

import io.llara.LlaraException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Function;

/** Threads that search for several queries at once. Closed when no search is under way. */
final class Workers implements AutoCloseable {
  private final ExecutorService threads;

  Workers(int count) {
    threads =
        Executors.newFixedThreadPool(
            count,
            work -> {
              Thread thread = new Thread(work, "llara-search");
              thread.setDaemon(true);
              return thread;
            });
  }

  /**
   * Applies a function to each element and returns the results in their order.
   *
   * @throws LlaraException if this thread is interrupted
   * @throws RuntimeException what the function throws
   */
  <S, T> List<T> map(List<S> elements, Function<S, T> function) {
    List<Callable<T>> tasks = new ArrayList<>(elements.size());
    for (S element : elements) {
      tasks.add(() -> function.apply(element));
    }
    try {
      List<T> results = new ArrayList<>(elements.size());
      for (Future<T> result : threads.invokeAll(tasks)) {
        results.add(result.get());
      }
      return results;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LlaraException("the search was interrupted", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof RuntimeException unchecked) {
        throw unchecked;
      }
      if (e.getCause() instanceof Error error) {
        throw error;
      }
      throw new IllegalStateException("a search throws unchecked exceptions only", e);
    }
  }

  @Override
  public void close() {
    threads.shutdownNow();
  }
}
