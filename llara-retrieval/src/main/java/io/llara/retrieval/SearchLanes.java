package io.llara.retrieval;

import com.google.common.base.Throwables;
import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.tensor.Libtorch;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The threads that a search computes on, with one libtorch thread each. Unlike the lanes of
 * training, whichever is free takes the next piece: what a piece results in must not depend on who
 * computes it. Thread-safe.
 */
final class SearchLanes implements AutoCloseable {
  private final ExecutorService threads;
  private final int count;

  /** Does a piece of work. */
  @FunctionalInterface
  interface Work {
    /**
     * Does it.
     *
     * @param lane which lane does it, from 0; nobody else of this run is that lane
     * @param piece the number of the piece
     */
    void accept(int lane, int piece);
  }

  SearchLanes(int count) {
    if (count < 1) {
      throw new IllegalArgumentException("there must be at least 1 lane, not " + count);
    }
    Libtorch.load();
    this.count = count;
    AtomicInteger number = new AtomicInteger();
    this.threads =
        Executors.newFixedThreadPool(
            count,
            task -> {
              Thread thread =
                  new Thread(
                      () -> {
                        Libtorch.useThreads(1);
                        task.run();
                      },
                      "llara-search-" + number.getAndIncrement());
              thread.setDaemon(true);
              return thread;
            });
  }

  int count() {
    return count;
  }

  /**
   * Runs pieces 0, 1, … and waits for all of them, also when this thread is interrupted meanwhile;
   * the interrupt is kept. After a failure no new piece begins.
   *
   * @throws RuntimeException what the first piece that failed threw
   * @throws IllegalStateException if the lanes are closed
   */
  void run(int pieces, Work work) {
    AtomicInteger next = new AtomicInteger();
    Map<Integer, Throwable> failures = new ConcurrentSkipListMap<>();
    List<Future<?>> running = new ArrayList<>();
    try {
      for (int i = 0; i < Math.min(count, pieces); i++) {
        int lane = i;
        running.add(threads.submit(() -> runLane(lane, pieces, work, next, failures)));
      }
    } catch (RejectedExecutionException e) {
      throw new IllegalStateException("the search is closed", e);
    } finally {
      running.forEach(SearchLanes::await);
    }
    // Pieces begin in their order: the first that fails is the same in every run.
    for (Throwable failure : failures.values()) {
      Throwables.throwIfUnchecked(failure);
    }
  }

  private static void runLane(
      int lane, int pieces, Work work, AtomicInteger next, Map<Integer, Throwable> failures) {
    int piece = next.getAndIncrement();
    while (piece < pieces && failures.isEmpty()) {
      try {
        work.accept(lane, piece);
      } catch (RuntimeException | Error e) {
        failures.put(piece, e);
      }
      piece = next.getAndIncrement();
    }
  }

  private static void await(Future<?> future) {
    try {
      Uninterruptibles.getUninterruptibly(future);
    } catch (ExecutionException e) {
      throw new IllegalStateException(e.getCause());
    }
  }

  @Override
  public void close() {
    threads.shutdown();
  }
}
