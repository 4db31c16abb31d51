package io.llara.engine;

import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.LlaraException;
import io.llara.OutOfDeviceMemoryException;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.LlamaConfig;
import io.llara.kernels.Accelerator;
import io.llara.kernels.Accelerators;
import io.llara.kernels.Projection;
import io.llara.model.LlamaModel;
import io.llara.prompt.Prompt;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.InferenceMode;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs prompts through a model on lanes: threads of this engine's own, the only ones that do native
 * work. Thread-safe; prompts that come one by one from several threads share batches.
 */
public final class EncodingEngine implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(EncodingEngine.class);

  /** How often the rows of a batch are halved for want of memory before that is an error. */
  private static final int MOST_HALVINGS = 4;

  /**
   * How an engine computes.
   *
   * @param type never {@code AUTO}
   * @param accelerator null for the processor
   */
  record Compute(ComputeType type, @Nullable Accelerator accelerator) {}

  private final LlamaModel model;
  private final Supplier<Projection> head;
  private final Compute compute;
  private final int maxTokens;
  private final WorkQueue queue;
  private final List<Thread> lanes;
  private final AtomicInteger lanesLeft;

  /** How many rows the device has memory for, as far as was found out. */
  private final AtomicInteger mostRows = new AtomicInteger(Integer.MAX_VALUE);

  private final AtomicInteger halvings = new AtomicInteger();

  /**
   * Starts the lanes.
   *
   * @param model freed when this engine is closed
   * @param head loads the projection on the vocabulary; the caller closes it
   */
  EncodingEngine(
      LlamaModel model,
      Supplier<Projection> head,
      Compute compute,
      int maxTokens,
      WorkQueue queue) {
    this.model = model;
    this.head = head;
    this.compute = compute;
    this.maxTokens = maxTokens;
    this.queue = queue;
    this.lanesLeft = new AtomicInteger(queue.lanes());
    this.lanes =
        IntStream.range(0, queue.lanes())
            .mapToObj(i -> new Thread(this::runLane, "llara-lane-" + i))
            .toList();
    lanes.forEach(lane -> lane.setDaemon(true));
    lanes.forEach(Thread::start);
  }

  /** Returns a builder of engines. */
  public static EngineBuilder builder() {
    return new EngineBuilder();
  }

  /** Returns the configuration of the model. */
  public LlamaConfig config() {
    return model.config();
  }

  /** Returns the type the model computes in, never {@code AUTO}. */
  public ComputeType computeType() {
    return compute.type();
  }

  /** Returns the number of lanes. */
  public int lanes() {
    return lanes.size();
  }

  /** Returns the longest prompt this engine takes, in tokens. */
  public int maxTokens() {
    return maxTokens;
  }

  /**
   * Checks that this engine takes work.
   *
   * @throws IllegalStateException if it is closed
   */
  public void requireOpen() {
    queue.requireOpen();
  }

  /**
   * Starts to encode prompts, longest first, in batches of their own: the same prompts give the
   * same vectors to the last bit, whatever else runs.
   *
   * @return the work, in the order of the prompts
   * @throws IllegalArgumentException if a prompt is too long, has a token id outside of the
   *     vocabulary, or nothing to pool
   * @throws IllegalStateException if the engine is closed
   */
  public List<Work<PooledVectors>> submit(List<Prompt> prompts) {
    return submit(prompts, Pooler.MEAN);
  }

  /**
   * Starts to encode a prompt. It may meet prompts of other threads in a batch, or, where nothing
   * else is to be done, use all lanes' processors: its last bits depend on that. Otherwise as
   * {@link #submit(List)}.
   */
  public Work<PooledVectors> submit(Prompt prompt) {
    Work<PooledVectors> work = work(prompt, Pooler.MEAN);
    queue.addSingle(work);
    return work;
  }

  /** Encodes prompts and waits; otherwise as {@link #submit(List)}. */
  public List<PooledVectors> encode(List<Prompt> prompts) {
    return Work.await(submit(prompts));
  }

  /** Encodes a prompt and waits; otherwise as {@link #submit(Prompt)}. */
  public PooledVectors encode(Prompt prompt) {
    return Work.await(List.of(submit(prompt))).get(0);
  }

  /**
   * Returns the hidden states of all tokens after the final norm, {@code [prompt.length(), hidden]}
   * row-major for each prompt.
   *
   * @throws IllegalArgumentException if a prompt is too long or has a token id outside of the
   *     vocabulary
   * @throws IllegalStateException if the engine is closed
   */
  public List<float[]> hiddenStates(List<Prompt> prompts) {
    return Work.await(submit(prompts, Pooler.NONE));
  }

  /**
   * Projects hidden states on the vocabulary, for checks rather than for speed: the projection is
   * loaded for this call.
   *
   * @param hiddenStates {@code [rows, hidden]}, row-major
   * @return {@code [rows, vocabulary]}, row-major
   * @throws io.llara.UnsupportedModelException if the checkpoint has no projection on the
   *     vocabulary
   */
  public float[] logits(float[] hiddenStates) {
    int hidden = config().hiddenSize();
    if (hiddenStates.length % hidden != 0) {
      throw new IllegalArgumentException(hiddenStates.length + " values are not rows of " + hidden);
    }
    try (TensorScope scope = new TensorScope();
        Projection projection = head.get()) {
      return Tensors.toFloats(
          projection.apply(Tensors.ofFloats(hiddenStates, hiddenStates.length / hidden, hidden)));
    }
  }

  <T> List<Work<T>> submit(List<Prompt> prompts, Pooler<T> pooler) {
    List<Work<T>> works = prompts.stream().map(prompt -> work(prompt, pooler)).toList();
    queue.add(Work.inRunningOrder(works));
    return works;
  }

  private <T> Work<T> work(Prompt prompt, Pooler<T> pooler) {
    if (pooler.tokens(prompt).findAny().isEmpty()) {
      throw new IllegalArgumentException("the prompt has no suffix to pool");
    }
    if (prompt.isJoint() && !config().causal()) {
      throw new IllegalArgumentException(
          "the prompt is joint, but in this model (is_causal is false) the text sees what follows"
              + " it");
    }
    // In a joint prompt the two suffixes stand at the same positions: what counts is the longest
    // path through it.
    int length = prompt.textEnd() + Math.max(prompt.selfLength(), prompt.nextLength());
    if (length > maxTokens) {
      throw new IllegalArgumentException(
          "the prompt has " + length + " tokens; this engine was opened for " + maxTokens);
    }
    model.requireKnown(prompt.ids());
    return new Work<>(prompt, pooler);
  }

  /** Returns the name of the device it computes on, such as {@code cpu} or {@code cuda:0}. */
  public String device() {
    @Nullable Accelerator accelerator = compute.accelerator();
    return accelerator == null ? Accelerators.CPU : accelerator.name();
  }

  private void runLane() {
    @Nullable Accelerator accelerator = compute.accelerator();
    try (TensorScope scope = new TensorScope();
        Accelerator.@Nullable Lane lane = accelerator == null ? null : accelerator.openLane();
        InferenceMode inference = new InferenceMode(true)) {
      // Gradient mode and thread count belong to the thread: set once, for all it ever runs.
      Libtorch.useThreads(1);
      for (WorkQueue.Batch batch = queue.take(); !batch.isEmpty(); batch = queue.take()) {
        run(batch);
      }
    } finally {
      if (lanesLeft.decrementAndGet() == 0) {
        queue.close(); // Where lanes ended by an error, nobody shall wait for them.
        model.close(); // None is left that could run it.
      }
    }
  }

  // Throwable: a lane must outlive anything a batch does, or its callers would wait for ever.
  @SuppressWarnings("CatchThrowable")
  private void run(WorkQueue.Batch batch) {
    boolean wide = batch.alone() && lanes.size() > 1 && compute.accelerator() == null;
    try (TensorScope scope = new TensorScope()) {
      if (wide) {
        Libtorch.useThreads(Math.min(lanes.size(), Runtime.getRuntime().availableProcessors()));
      }
      forward(batch);
    } catch (CancellationException e) {
      batch.work().forEach(work -> work.completeExceptionally(WorkQueue.closedError()));
    } catch (DeviceException e) {
      batch.work().forEach(work -> work.completeExceptionally(e));
    } catch (Throwable e) {
      LlaraException error = new LlaraException("the forward pass failed: " + firstLine(e), e);
      batch.work().forEach(work -> work.completeExceptionally(error));
    } finally {
      if (wide) {
        Libtorch.useThreads(1);
      }
      queue.done();
    }
  }

  private static String firstLine(Throwable e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse(e.getClass().getName());
  }

  /**
   * Runs a batch, in several passes where the device has less memory than it takes. What was found
   * to be too much is not tried again.
   */
  private void forward(WorkQueue.Batch taken) {
    List<Work<?>> batch = taken.work();
    batch.forEach(Work::start);
    @Nullable Accelerator accelerator = compute.accelerator();
    if (accelerator == null) {
      pass(batch, taken);
      return;
    }
    for (int begin = 0; begin < batch.size(); ) {
      List<Work<?>> some = batch.subList(begin, end(batch, begin));
      try (TensorScope scope = new TensorScope()) {
        pass(some, taken);
        begin += some.size();
      } catch (CancellationException e) {
        throw e;
      } catch (RuntimeException e) {
        DeviceException explained = accelerator.explain(e).orElseThrow(() -> e);
        if (!(explained instanceof OutOfDeviceMemoryException)) {
          throw explained;
        }
        halve(some, explained);
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
  private void halve(List<Work<?>> tooMany, DeviceException reason) {
    int rows = tooMany.stream().mapToInt(Work::rows).sum();
    int before = mostRows.getAndAccumulate(rows / 2, Math::min);
    boolean other = before < rows; // Another lane found out meanwhile.
    if (tooMany.size() == 1 || (!other && halvings.incrementAndGet() > MOST_HALVINGS)) {
      throw new OutOfDeviceMemoryException(
          "%s has too little memory for %d tokens at once%s; choose a smaller batchTokens, fewer threads or a shorter maxTokens (%s)"
              .formatted(
                  device(),
                  rows,
                  tooMany.size() == 1 ? ", which are one text" : "",
                  reason.getMessage()),
          reason);
    }
    LOG.warn("{} has too little memory for {} tokens at once; going on with half", device(), rows);
  }

  /** Runs works of a batch that was taken. */
  private void pass(List<Work<?>> batch, WorkQueue.Batch taken) {
    AttentionMask mask =
        AttentionMaskFactory.create(batch.stream().map(Work::prompt).toList(), Layout.packed());
    int[] rows =
        IntStream.range(0, batch.size())
            .flatMap(i -> batch.get(i).tokens().map(token -> mask.sequenceBegin(i) + token))
            .toArray();
    float[] states = Tensors.toFloats(model.forward(mask, rows, () -> betweenLayers(taken)));
    int begin = 0;
    for (Work<?> work : batch) {
      begin = work.finish(states, begin, config().hiddenSize());
    }
  }

  private void betweenLayers(WorkQueue.Batch batch) {
    if (queue.isClosed() || batch.work().stream().allMatch(Work::isDone)) {
      throw new CancellationException();
    }
    // Single texts step in front of a corpus: they wait for a layer of a batch, not for all of it.
    if (!batch.single()) {
      WorkQueue.Batch singles = queue.takeSingles();
      if (!singles.isEmpty()) {
        run(singles);
      }
    }
  }

  /**
   * Ends all calls with an {@link IllegalStateException}, waits for the lanes to leave their
   * forward pass; the last of them frees the model. Harmless when repeated.
   */
  @Override
  public void close() {
    queue.close();
    lanes.forEach(Uninterruptibles::joinUninterruptibly);
  }
}
