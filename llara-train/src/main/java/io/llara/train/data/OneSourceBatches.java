package io.llara.train.data;

import io.llara.LlaraException;
import java.util.ArrayList;
import java.util.List;

/**
 * Batches that are each drawn from one file, so that what a query is told from in its batch is of
 * its own kind.
 *
 * <p>Each file is drawn from as by a {@link ShuffleBuffer} of its own, and gets as many batches as
 * its share of the examples, counted with its weight: at any moment it is less than one batch off.
 * The files are read once in advance, to count their examples.
 *
 * <p>Not thread-safe.
 *
 * @param <T> the examples
 */
public final class OneSourceBatches<T> implements BatchSource<T> {
  private final Dataset<T> dataset;
  private final int buffer;
  private final long seed;
  private final int batch;

  /** Those that have examples; made when the first batch is drawn. */
  private final List<Source<T>> sources = new ArrayList<>();

  private long batches;

  /** A file, its part of all batches, and how many it gave. */
  private static final class Source<T> {
    final ShuffleBuffer<T> examples;
    final double share;
    long batches;

    Source(ShuffleBuffer<T> examples, double share) {
      this.examples = examples;
      this.share = share;
    }
  }

  /**
   * Draws from a dataset; its files are the sources.
   *
   * @param buffer how many examples are held to draw from, of all files together
   * @param seed decides the order
   * @param batch how many examples a batch has
   * @throws IllegalArgumentException if {@code buffer} or {@code batch} is below 1
   */
  public OneSourceBatches(Dataset<T> dataset, int buffer, long seed, int batch) {
    if (buffer < 1 || batch < 1) {
      throw new IllegalArgumentException(
          "the buffer holds %d, a batch %d; both must be at least 1".formatted(buffer, batch));
    }
    this.dataset = dataset;
    this.buffer = buffer;
    this.seed = seed;
    this.batch = batch;
  }

  private void open() {
    if (!sources.isEmpty()) {
      return;
    }
    List<Long> examples = dataset.examplesByFile();
    double all = 0;
    for (int i = 0; i < examples.size(); i++) {
      all += examples.get(i) * dataset.weight(i);
    }
    // One keeps the order of the files, so that a part of more than one must be more, too.
    int part = Math.max(Math.min(buffer, 2), buffer / examples.size());
    for (int i = 0; i < examples.size(); i++) {
      long count = examples.get(i);
      if (count > 0 && count < batch) {
        throw new LlaraException(
            "%s: has %d usable %ss, fewer than a batch of one source takes, which is %d; leave it out, or take smaller batches"
                .formatted(dataset.files().get(i), count, dataset.format().noun(), batch));
      }
      if (count > 0) {
        sources.add(
            new Source<>(
                new ShuffleBuffer<>(
                    dataset.only(i), part, ShuffleBuffer.random(seed, i).nextLong()),
                count * dataset.weight(i) / all));
      }
    }
    if (sources.isEmpty()) {
      dataset.requireExamples();
    }
  }

  /** Returns the file that is furthest behind its share, of equals the first. */
  private Source<T> next() {
    batches++;
    Source<T> next = sources.get(0);
    double behind = 0;
    for (Source<T> source : sources) {
      double of = source.share * batches - source.batches;
      if (of > behind) {
        next = source;
        behind = of;
      }
    }
    next.batches++;
    return next;
  }

  @Override
  public List<T> nextBatch(int count) {
    requireBatches(count == batch, count);
    open();
    return next().examples.nextBatch(batch);
  }

  @Override
  public void skip(long count) {
    requireBatches(count >= 0 && count % batch == 0, count);
    open();
    long[] before = sources.stream().mapToLong(source -> source.batches).toArray();
    for (long i = 0; i < count / batch; i++) {
      next();
    }
    for (int i = 0; i < before.length; i++) {
      Source<T> source = sources.get(i);
      source.examples.skip((source.batches - before[i]) * batch);
    }
  }

  private void requireBatches(boolean holds, long count) {
    if (!holds) {
      throw new IllegalArgumentException("%d are no batches of %d".formatted(count, batch));
    }
  }

  @Override
  public long position() {
    return batches * batch;
  }

  @Override
  public void close() {
    sources.forEach(source -> source.examples.close());
  }
}
