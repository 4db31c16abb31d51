package io.llara.train.distributed;

import com.google.common.base.Throwables;
import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.DeviceException;
import io.llara.Internal;
import io.llara.kernels.Accelerator;
import io.llara.tensor.Libtorch;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BiConsumer;
import java.util.function.BiFunction;
import java.util.function.ToLongFunction;
import org.bytedeco.pytorch.GradMode;

/**
 * The threads that native work of training runs on: one for each core, with one libtorch thread
 * each, so that the thread pools of libtorch and BLAS do not fight; or one for a device. A lane's
 * number decides what it computes, not which is free first.
 *
 * <p>For one thread at a time.
 */
@Internal
public final class Lanes implements AutoCloseable {
  private final List<ExecutorService> threads = new ArrayList<>();

  /** Each lane's preparation for a device; empty on the processor. */
  private final List<Accelerator.Lane> opened = new ArrayList<>();

  /** Starts lanes for the processor. */
  public Lanes(int count) {
    this(count, Optional.empty());
  }

  /**
   * Starts lanes.
   *
   * @param device empty for the processor
   * @throws DeviceException if the device cannot be used
   */
  public Lanes(int count, Optional<Accelerator> device) {
    if (count < 1) {
      throw new IllegalArgumentException("there must be at least 1 lane, not " + count);
    }
    Libtorch.load();
    for (int i = 0; i < count; i++) {
      String name = "llara-train-" + i;
      threads.add(
          Executors.newSingleThreadExecutor(
              task -> {
                Thread thread = new Thread(() -> prepared(task), name);
                thread.setDaemon(true);
                return thread;
              }));
    }
    if (device.isPresent()) {
      try {
        opened.addAll(run(Collections.nCopies(count, device.get()::openLane)));
      } catch (RuntimeException | Error e) {
        close();
        throw e;
      }
    }
  }

  private static void prepared(Runnable task) {
    Libtorch.useThreads(1);
    GradMode.set_enabled(false);
    task.run();
  }

  /** Returns the number of lanes. */
  public int count() {
    return threads.size();
  }

  /**
   * Deals items out to lanes, the heaviest first, each to the lane that has the least so far: a
   * function of the items alone.
   *
   * @param lanes how many there are
   * @return what each lane has; empty where there are fewer items than lanes
   */
  public static <T> List<List<T>> deal(List<T> items, ToLongFunction<T> weight, int lanes) {
    List<List<T>> shares = new ArrayList<>();
    long[] weights = new long[lanes];
    for (int i = 0; i < lanes; i++) {
      shares.add(new ArrayList<>());
    }
    items.stream()
        .sorted(Comparator.comparingLong((T item) -> -weight.applyAsLong(item)))
        .forEachOrdered(
            item -> {
              int lightest = 0;
              for (int i = 1; i < lanes; i++) {
                if (weights[i] < weights[lightest]) {
                  lightest = i;
                }
              }
              shares.get(lightest).add(item);
              weights[lightest] += weight.applyAsLong(item);
            });
    return shares;
  }

  /**
   * Works on share {@code i} on lane {@code i}, and waits as {@link #run(List)}.
   *
   * @param work takes a share and the number of its lane
   */
  public <S, T> List<T> map(List<S> shares, BiFunction<S, Integer, T> work) {
    List<Callable<T>> tasks = new ArrayList<>();
    for (S share : shares) {
      int lane = tasks.size();
      tasks.add(() -> work.apply(share, lane));
    }
    return run(tasks);
  }

  /** Works on share {@code i} on lane {@code i}, as {@link #map}. */
  public <S> void forEach(List<S> shares, BiConsumer<S, Integer> work) {
    map(
        shares,
        (share, lane) -> {
          work.accept(share, lane);
          return true;
        });
  }

  /** Works on the first lane, and waits as {@link #run(List)}. */
  public void run(Runnable work) {
    call(Executors.callable(work));
  }

  /** Works on the first lane and returns the result, as {@link #run(List)}. */
  public <T> T call(Callable<T> work) {
    return run(List.of(work)).get(0);
  }

  /**
   * Runs task {@code i} on lane {@code i} and waits for all of them, also when this thread is
   * interrupted meanwhile; the interrupt is kept.
   *
   * @return the results, in the order of the tasks
   * @throws RuntimeException what the first task that failed threw; the others ended as well
   */
  public <T> List<T> run(List<? extends Callable<T>> tasks) {
    if (tasks.size() > threads.size()) {
      throw new IllegalArgumentException(
          tasks.size() + " tasks are too many for " + threads.size() + " lanes");
    }
    List<Future<T>> futures = new ArrayList<>();
    for (int i = 0; i < tasks.size(); i++) {
      futures.add(threads.get(i).submit(tasks.get(i)));
    }
    List<T> results = new ArrayList<>();
    Throwable failure = null;
    for (Future<T> future : futures) {
      try {
        results.add(Uninterruptibles.getUninterruptibly(future));
      } catch (ExecutionException e) {
        // A task that waited for one that failed says why that one did.
        Throwable cause =
            e.getCause() instanceof CompletionException waited ? waited.getCause() : e.getCause();
        if (failure == null) {
          failure = cause;
        } else if (failure != cause) {
          failure.addSuppressed(cause);
        }
      }
    }
    if (failure != null) {
      Throwables.throwIfUnchecked(failure);
      throw new IllegalStateException(failure);
    }
    return results;
  }

  @Override
  public void close() {
    for (int i = 0; i < opened.size(); i++) {
      threads.get(i).execute(opened.get(i)::close);
    }
    opened.clear();
    threads.forEach(ExecutorService::shutdown);
  }
}
