package io.llara.benchmarks;

import io.llara.tensor.Libtorch;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.InferenceMode;

/** Threads for native work, each with a number of libtorch and BLAS threads of its own. */
final class LaneThreads implements AutoCloseable {
  private final ExecutorService executor;
  private final int threadsEach;

  LaneThreads(int count, int threadsEach) {
    this.threadsEach = threadsEach;
    this.executor =
        Executors.newFixedThreadPool(
            count,
            loop -> {
              Thread thread = new Thread(() -> runLane(loop), "ceiling-lane");
              thread.setDaemon(true);
              return thread;
            });
  }

  /** Both settings belong to the thread. */
  private void runLane(Runnable loop) {
    Libtorch.useThreads(threadsEach);
    try (InferenceMode inference = new InferenceMode(true)) {
      loop.run();
    }
  }

  /** Runs the tasks at once, one a thread, and returns how many seconds passed until all ended. */
  double run(List<Runnable> tasks) {
    // One setting for the whole process: the engine's lanes, which rest meanwhile, need 1 again.
    openblas.blas_set_num_threads(threadsEach);
    try {
      long begin = System.nanoTime();
      List<Future<?>> running = new ArrayList<>(tasks.size());
      for (Runnable task : tasks) {
        running.add(executor.submit(task));
      }
      for (Future<?> future : running) {
        future.get();
      }
      return (System.nanoTime() - begin) / 1e9;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while products ran", e);
    } catch (ExecutionException e) {
      throw new IllegalStateException("a product failed: " + e.getCause(), e);
    } finally {
      openblas.blas_set_num_threads(1);
    }
  }

  @Override
  public void close() {
    executor.shutdown();
  }
}
