package io.llara.engine;

import io.llara.DeviceException;
import io.llara.OutOfDeviceMemoryException;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.kernels.Accelerator;
import io.llara.model.LlamaModel;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A model in the memory of one device, and what was found out about that. Several lanes run it at
 * once; closed when none does any more.
 */
final class Replica implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Replica.class);

  /** How often the rows of a batch are halved for want of memory before that is an error. */
  private static final int MOST_HALVINGS = 4;

  private final LlamaModel model;
  private final @Nullable Accelerator accelerator;

  /** How many rows the device has memory for, as far as was found out. */
  private final AtomicInteger mostRows = new AtomicInteger(Integer.MAX_VALUE);

  private final AtomicInteger halvings = new AtomicInteger();

  /**
   * Takes ownership of a model.
   *
   * @param accelerator null for the processor
   */
  Replica(LlamaModel model, @Nullable Accelerator accelerator) {
    this.model = model;
    this.accelerator = accelerator;
  }

  LlamaModel model() {
    return model;
  }

  /** Returns the device; empty for the processor. */
  Optional<Accelerator> accelerator() {
    return Optional.ofNullable(accelerator);
  }

  /**
   * Runs works, in several passes where the device has less memory than they take. What was found
   * to be too much is not tried again.
   *
   * @param betweenLayers as {@link LlamaModel#forward}
   */
  void run(List<Work<?>> batch, Runnable betweenLayers) {
    if (accelerator == null) {
      pass(batch, betweenLayers);
      return;
    }
    for (int begin = 0; begin < batch.size(); ) {
      List<Work<?>> some = batch.subList(begin, end(batch, begin));
      try (TensorScope scope = new TensorScope()) {
        pass(some, betweenLayers);
        begin += some.size();
      } catch (CancellationException e) {
        throw e;
      } catch (RuntimeException e) {
        DeviceException explained = accelerator.explain(e).orElseThrow(() -> e);
        if (!(explained instanceof OutOfDeviceMemoryException)) {
          throw explained;
        }
        halve(some, accelerator.name(), explained);
      }
    }
  }

  /** Returns where works from {@code begin} on end that the device has memory for; at least one. */
  private int end(List<Work<?>> batch, int begin) {
    int end = begin + 1;
    long rows = batch.get(begin).rows();
    while (end < batch.size() && rows + batch.get(end).rows() <= mostRows.get()) {
      rows += batch.get(end++).rows();
    }
    return end;
  }

  /** Halves how many rows are run at once, given works that were too many. */
  private void halve(List<Work<?>> tooMany, String device, DeviceException reason) {
    int rows = tooMany.stream().mapToInt(Work::rows).sum();
    int before = mostRows.getAndAccumulate(rows / 2, Math::min);
    boolean other = before < rows; // Another lane found out meanwhile.
    if (tooMany.size() == 1 || (!other && halvings.incrementAndGet() > MOST_HALVINGS)) {
      throw new OutOfDeviceMemoryException(
          "%s has too little memory for %d tokens at once%s; choose a smaller batchTokens, fewer threads or a shorter maxTokens (%s)"
              .formatted(
                  device,
                  rows,
                  tooMany.size() == 1 ? ", which are one text" : "",
                  reason.getMessage()),
          reason);
    }
    LOG.warn("{} has too little memory for {} tokens at once; going on with half", device, rows);
  }

  private void pass(List<Work<?>> batch, Runnable betweenLayers) {
    AttentionMask mask =
        AttentionMaskFactory.create(batch.stream().map(Work::prompt).toList(), Layout.packed());
    int[] rows =
        IntStream.range(0, batch.size())
            .flatMap(i -> batch.get(i).tokens().map(token -> mask.sequenceBegin(i) + token))
            .toArray();
    float[] states = Tensors.toFloats(model.forward(mask, rows, betweenLayers));
    int begin = 0;
    for (Work<?> work : batch) {
      begin = work.pool(states, begin, model.config().hiddenSize());
    }
  }

  @Override
  public void close() {
    model.close();
  }
}
