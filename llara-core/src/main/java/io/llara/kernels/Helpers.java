package io.llara.kernels;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Threads that help another with one operation after another. Waking a thread takes longer than an
 * operation of one short query, so that they look for the next one for a while before they sleep;
 * those that have slept for long end.
 *
 * <p>One thread is helped at a time; others do their work themselves.
 */
final class Helpers {
  /** Some work, from one unit to before another. */
  interface Part {
    /**
     * Does a part. Makes no native objects: the thread has no scope.
     *
     * @param worker a number that no other thread has meanwhile, less than that of the threads
     */
    void run(int worker, long begin, long end);
  }

  /** How long a helper looks for work: longer than the gaps in a forward pass. */
  private static final long PATIENCE_NANOS = 500_000;

  private static final long SLEEP_NANOS = 10_000_000_000L;

  /** Parts for each thread: one that comes late takes fewer. */
  private static final int PARTS_EACH = 4;

  private static final ReentrantLock HELPED = new ReentrantLock();

  /** By their numbers, from 1 on; changed by the thread that is helped. */
  private static final Helper[] HELPERS =
      new Helper[Math.max(1, Runtime.getRuntime().availableProcessors())];

  private static volatile @Nullable Job current;

  private Helpers() {}

  /**
   * Does {@code units} of work on this thread and up to {@code threads − 1} others, in about four
   * parts for each, and returns when all is done.
   *
   * @throws RuntimeException or an error that a part threw, on any thread
   */
  static void share(long units, int threads, Part work) {
    int workers = Math.min(threads, HELPERS.length);
    if (workers < 2 || !HELPED.tryLock()) {
      work.run(0, 0, units);
      return;
    }
    try {
      Job job = new Job(work, units, workers);
      current = job;
      for (int number = 1; number < workers; number++) {
        wake(number);
      }
      job.help(0);
      job.await();
    } finally {
      current = null;
      HELPED.unlock();
    }
  }

  private static void wake(int number) {
    Helper helper = HELPERS[number];
    if (helper == null || helper.ended) {
      helper = new Helper(number);
      HELPERS[number] = helper;
      helper.start();
    } else if (helper.sleeping) {
      LockSupport.unpark(helper);
    }
  }

  private static final class Job {
    private final Part work;
    private final long units;
    private final int workers;
    private final int parts;
    private final AtomicInteger taken = new AtomicInteger();
    private final AtomicInteger done = new AtomicInteger();
    private volatile @Nullable Throwable failure;

    Job(Part work, long units, int workers) {
      this.work = work;
      this.units = units;
      this.workers = workers;
      this.parts = (int) Math.min(units, (long) workers * PARTS_EACH);
    }

    /** Does parts until all are taken, and returns whether there was one. */
    // Throwable: what a helper does not finish, the thread that it helps would wait for.
    @SuppressWarnings("CatchThrowable")
    boolean help(int worker) {
      boolean helped = false;
      for (int part = taken.getAndIncrement(); part < parts; part = taken.getAndIncrement()) {
        helped = true;
        try {
          work.run(worker, units * part / parts, units * (part + 1) / parts);
        } catch (Throwable e) {
          failure = e;
        }
        done.incrementAndGet();
      }
      return helped;
    }

    void await() {
      while (done.get() < parts) {
        Thread.onSpinWait();
      }
      Throwable thrown = failure;
      if (thrown instanceof Error error) {
        throw error;
      }
      if (thrown != null) {
        throw (RuntimeException) thrown; // Parts throw nothing checked.
      }
    }
  }

  private static final class Helper extends Thread {
    private final int number;
    private volatile boolean sleeping;
    private volatile boolean ended;

    Helper(int number) {
      super(null, null, "llara-helper-" + number, 0, false);
      this.number = number;
      setDaemon(true);
      setContextClassLoader(null);
    }

    @Override
    public void run() {
      long busy = System.nanoTime();
      while (!ended) {
        Job job = current;
        if (job != null && number < job.workers && job.help(number)) {
          busy = System.nanoTime();
        } else if (System.nanoTime() - busy < PATIENCE_NANOS) {
          Thread.onSpinWait();
        } else {
          sleep(job);
          busy = System.nanoTime();
        }
      }
    }

    private void sleep(@Nullable Job seen) {
      sleeping = true;
      if (current == seen) { // Or one came that did not know of this yet.
        long begin = System.nanoTime();
        LockSupport.parkNanos(this, SLEEP_NANOS);
        ended = current == seen && System.nanoTime() - begin >= SLEEP_NANOS;
      }
      sleeping = false;
    }
  }
}
