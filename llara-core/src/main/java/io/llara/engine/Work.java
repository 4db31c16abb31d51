package io.llara.engine;

import static java.util.Objects.requireNonNull;

import com.google.common.base.Throwables;
import io.llara.LlaraException;
import io.llara.prompt.Prompt;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A prompt on its way through an engine: the future of its result. Cancelling it drops the prompt.
 *
 * <p>Lanes complete it, and run what depends on it unless that is made with an {@code Async}
 * method. No code of users may run on a lane, so they never get hold of this future itself.
 */
public class Work<T> extends CompletableFuture<T> {
  private final Prompt prompt;
  private final Pooler<T> pooler;
  private final long submitted = System.nanoTime();
  private volatile long started;
  private volatile long ended;

  /** Made by the lane that completes this with it. */
  private @Nullable T result;

  Work(Prompt prompt, Pooler<T> pooler) {
    this.prompt = prompt;
    this.pooler = pooler;
  }

  /** Returns the prompt. */
  public Prompt prompt() {
    return prompt;
  }

  /** Returns the tokens whose hidden states the result is made of. */
  IntStream tokens() {
    return pooler.tokens(prompt);
  }

  int rows() {
    return prompt.length();
  }

  /** Returns when it was submitted, in the nanoseconds of {@link System#nanoTime}. */
  public long submitted() {
    return submitted;
  }

  /** Returns when a lane took it, once it has a result. */
  public long started() {
    return started;
  }

  /** Returns when its result was ready, once it has one. */
  public long ended() {
    return ended;
  }

  void start() {
    started = System.nanoTime();
  }

  /**
   * Makes the result of the hidden states of {@link #tokens}, {@code [tokens, hidden]} row-major
   * from {@code begin} on, and returns where they end.
   */
  int pool(float[] states, int begin, int hidden) {
    result = pooler.pool(prompt, states, begin, hidden);
    ended = System.nanoTime();
    return begin + (int) tokens().count() * hidden;
  }

  /** Completes this, with its result if there is one. */
  void end(@Nullable RuntimeException failure) {
    if (result != null) {
      complete(result);
    } else {
      completeExceptionally(requireNonNull(failure));
    }
  }

  /**
   * Returns work in the order in which lanes take it: prompts of like length meet in a batch, and
   * the short ones at the end let the lanes finish together.
   */
  public static List<Work<?>> inRunningOrder(List<? extends Work<?>> works) {
    List<Work<?>> sorted = new ArrayList<>(works);
    sorted.sort(Comparator.<Work<?>>comparingInt(Work::rows).reversed());
    return sorted;
  }

  /**
   * Waits for the result.
   *
   * @throws InterruptedException if this thread is interrupted
   * @throws RuntimeException what ended this work
   */
  public T await() throws InterruptedException {
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
    try {
      return get();
    } catch (ExecutionException e) {
      Throwables.throwIfUnchecked(requireNonNull(e.getCause()));
      throw new IllegalStateException(e); // Lanes throw nothing checked.
    }
  }

  /**
   * Waits for several results; all of the work ends with this call.
   *
   * @return the results, in the order of {@code works}
   * @throws LlaraException if this thread is interrupted; it stays so
   * @throws RuntimeException what ended one of them
   */
  public static <T> List<T> await(List<Work<T>> works) {
    try {
      List<T> results = new ArrayList<>(works.size());
      for (Work<T> work : works) {
        results.add(work.await());
      }
      return results;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LlaraException("interrupted while waiting for a forward pass", e);
    } finally {
      cancel(works);
    }
  }

  /** Lets lanes drop what is not done yet. */
  public static void cancel(List<? extends Work<?>> works) {
    works.forEach(work -> work.cancel(false));
  }
}
