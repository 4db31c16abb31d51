package io.llara.train.run;

import com.google.common.base.Suppliers;
import com.google.common.collect.Lists;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.train.data.BatchSource;
import io.llara.train.data.Dataset;
import io.llara.train.data.OneSourceBatches;
import io.llara.train.data.ShuffleBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * The examples of a run: this process's share of one batch after another, drawn from shuffled data,
 * and those that are held out.
 *
 * <p>Not thread-safe.
 *
 * @param <T> what the data holds
 * @param <E> what it is made into
 */
@Internal
public final class Examples<T, E> implements AutoCloseable {
  private final RunOptions options;
  private final Preparation<T, E> preparation;
  private final Dataset<T> training;
  private final Supplier<List<List<E>>> heldOut;
  private BatchSource<T> shuffled;

  /** Makes examples. */
  @FunctionalInterface
  public interface Preparation<T, E> {
    /**
     * Makes an example.
     *
     * @param position how many were drawn before it since the run began
     */
    E prepare(T text, long position);
  }

  /**
   * Begins with the first of the examples; makes sure that there is one.
   *
   * @param data those to train on and those that are held out
   * @param heldOutBatch how many of the latter are evaluated at once
   * @throws LlaraException if there is nothing to train on
   */
  public Examples(
      Dataset<T> data, RunOptions options, int heldOutBatch, Preparation<T, E> preparation) {
    this.options = options;
    this.preparation = preparation;
    this.training =
        data.heldOut(options.data().heldOut(), false).weighted(options.data().mixture().weights());
    this.heldOut = Suppliers.memoize(() -> heldOut(data, heldOutBatch));
    training.requireExamples();
    this.shuffled = shuffled(training);
  }

  private BatchSource<T> shuffled(Dataset<T> data) {
    int buffer = options.data().shuffleBuffer();
    return options.data().mixture().oneSource()
        ? new OneSourceBatches<>(data, buffer, options.seed(), options.data().batch())
        : new ShuffleBuffer<>(data, buffer, options.seed());
  }

  /**
   * The same examples at each evaluation, whole batches for each process, so that a loss does not
   * depend on how many processes there are.
   */
  private List<List<E>> heldOut(Dataset<T> data, int batch) {
    double fraction = options.data().heldOut();
    if (fraction == 0) {
      return List.of();
    }
    Dataset<T> heldOutData = data.heldOut(fraction, true);
    heldOutData.requireExamples();
    List<T> drawn = new ArrayList<>();
    // Drawn from all of them, not from the first ones.
    try (ShuffleBuffer<T> some =
        new ShuffleBuffer<>(heldOutData, options.data().shuffleBuffer(), 0, 1)) {
      while (drawn.size() < options.data().evaluationTexts() && some.hasNext()) {
        drawn.add(some.next());
      }
    }
    List<List<E>> mine = new ArrayList<>();
    List<List<T>> all = Lists.partition(drawn, batch);
    for (int i = options.compute().rank(); i < all.size(); i += options.compute().ranks()) {
      List<E> examples = new ArrayList<>();
      for (T text : all.get(i)) {
        examples.add(preparation.prepare(text, (long) i * batch + examples.size()));
      }
      mine.add(examples);
    }
    return mine;
  }

  /** Reads the data through and counts the examples of an epoch. */
  public long count() {
    return training.examplesPerEpoch();
  }

  /** Returns the data that the run begins with. */
  public Dataset<T> training() {
    return training;
  }

  /**
   * Draws the next batch and returns this process's share.
   *
   * @throws LlaraException if the data cannot be used
   */
  public List<E> nextBatch() {
    int batch = options.data().batch();
    int share = batch / options.compute().ranks();
    long position = position();
    List<T> drawn = shuffled.nextBatch(batch);
    int first = options.compute().rank() * share;
    List<E> mine = new ArrayList<>();
    for (int i = first; i < first + share; i++) {
      mine.add(preparation.prepare(drawn.get(i), position + i));
    }
    return mine;
  }

  /** Returns how many examples all processes have drawn or skipped since the run began. */
  public long position() {
    return shuffled.position();
  }

  /** Passes over examples. */
  public void skip(long count) {
    shuffled.skip(count);
  }

  /** Goes on at the same position of other data. */
  public void replace(Dataset<T> others) {
    long position = position();
    shuffled.close();
    shuffled = shuffled(others);
    shuffled.skip(position);
  }

  /** Returns the batches of held-out examples that this process evaluates. */
  public List<List<E>> heldOut() {
    return heldOut.get();
  }

  @Override
  public void close() {
    shuffled.close();
  }
}
