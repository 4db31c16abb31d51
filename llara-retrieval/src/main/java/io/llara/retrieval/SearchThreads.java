package io.llara.retrieval;

import com.google.common.base.Throwables;
import com.google.common.collect.Lists;
import com.google.common.util.concurrent.ThreadFactoryBuilder;
import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.LlaraException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;

/**
 * The threads of a searcher, started when first used. Whichever is free takes the next task: what a
 * task results in must not depend on who computes it. Thread-safe.
 */
final class SearchThreads implements AutoCloseable {
  /** So many elements for each thread are mapped before an interrupt is looked for. */
  private static final int PART = 64;

  private final ExecutorService executor;
  private final int count;

  /** A task of a run. */
  @FunctionalInterface
  interface Task {
    /**
     * Does the task.
     *
     * @param thread the number of the thread, from 0; no other thread of this run has it
     * @param task the number of the task
     */
    void run(int thread, int task);
  }

  /**
   * Creates threads.
   *
   * @param onStart what each thread does first
   */
  SearchThreads(int count, Runnable onStart) {
    if (count < 1) {
      throw new IllegalArgumentException("there must be at least 1 thread, not " + count);
    }
    this.count = count;
    this.executor =
        Executors.newFixedThreadPool(
            count,
            new ThreadFactoryBuilder()
                .setNameFormat("llara-search-%d")
                .setDaemon(true)
                .setThreadFactory(
                    work ->
                        new Thread(
                            () -> {
                              onStart.run();
                              work.run();
                            }))
                .build());
  }

  int count() {
    return count;
  }

  /**
   * Runs tasks 0, 1, … and waits for all of them, also when this thread is interrupted meanwhile;
   * the interrupt is kept. After a failure no new task begins.
   *
   * @throws RuntimeException what the first task that failed threw
   * @throws IllegalStateException if the threads are closed
   */
  void run(int tasks, Task work) {
    AtomicInteger next = new AtomicInteger();
    Map<Integer, Throwable> failures = new ConcurrentSkipListMap<>();
    List<Future<?>> running = new ArrayList<>();
    try {
      for (int i = 0; i < Math.min(count, tasks); i++) {
        int thread = i;
        running.add(executor.submit(() -> work(thread, tasks, work, next, failures)));
      }
    } catch (RejectedExecutionException e) {
      throw new IllegalStateException("the search is closed", e);
    } finally {
      running.forEach(SearchThreads::await);
    }
    // Tasks begin in their order: the first that fails is the same in every run.
    failures.values().stream().findFirst().ifPresent(Throwables::throwIfUnchecked);
  }

  private static void work(
      int thread, int tasks, Task work, AtomicInteger next, Map<Integer, Throwable> failures) {
    int task = next.getAndIncrement();
    while (task < tasks && failures.isEmpty()) {
      try {
        work.run(thread, task);
      } catch (RuntimeException | Error e) {
        failures.put(task, e);
      }
      task = next.getAndIncrement();
    }
  }

  private static void await(Future<?> future) {
    try {
      Uninterruptibles.getUninterruptibly(future);
    } catch (ExecutionException e) {
      throw new IllegalStateException(e.getCause());
    }
  }

  /**
   * Returns what a function makes of each element, in their order.
   *
   * @throws LlaraException if this thread is interrupted
   * @throws RuntimeException as {@link #run}
   */
  <S, T> List<T> map(List<S> elements, Function<S, T> function) {
    List<T> results = new ArrayList<>(Collections.nCopies(elements.size(), null));
    int first = 0;
    for (List<S> part : Lists.partition(elements, PART * count)) {
      if (Thread.currentThread().isInterrupted()) {
        throw new LlaraException("the search was interrupted");
      }
      int offset = first;
      run(part.size(), (thread, i) -> results.set(offset + i, function.apply(part.get(i))));
      first += part.size();
    }
    return results;
  }

  /**
   * Fails if the threads are closed.
   *
   * @throws IllegalStateException if they are
   */
  void requireOpen() {
    if (executor.isShutdown()) {
      throw new IllegalStateException("the search is closed");
    }
  }

  @Override
  public void close() {
    executor.shutdown();
  }
}
