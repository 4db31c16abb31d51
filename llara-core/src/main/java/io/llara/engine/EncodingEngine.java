package io.llara.engine;

import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.LlaraException;
import io.llara.checkpoint.LlamaConfig;
import io.llara.kernels.Accelerator;
import io.llara.kernels.Accelerators;
import io.llara.kernels.Projection;
import io.llara.prompt.Prompt;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.InferenceMode;
import org.jspecify.annotations.Nullable;

/**
 * Runs prompts through a model on lanes: threads of this engine's own, the only ones that do native
 * work. Thread-safe; prompts that come one by one from several threads share batches.
 */
public final class EncodingEngine implements AutoCloseable {
  /** One for each device; lanes are shared out among them. */
  private final List<Replica> replicas;

  private final Supplier<Projection> head;
  private final ComputeType type;
  private final int maxTokens;
  private final WorkQueue queue;
  private final List<Thread> lanes;
  private final AtomicInteger lanesLeft;

  /**
   * Starts the lanes.
   *
   * @param replicas the model, on each device; freed when this engine is closed
   * @param head loads the projection on the vocabulary; the caller closes it
   * @param type what they compute in, never {@code AUTO}
   * @param queue of at least as many lanes as there are replicas
   */
  EncodingEngine(
      List<Replica> replicas,
      Supplier<Projection> head,
      ComputeType type,
      int maxTokens,
      WorkQueue queue) {
    this.replicas = List.copyOf(replicas);
    this.head = head;
    this.type = type;
    this.maxTokens = maxTokens;
    this.queue = queue;
    this.lanesLeft = new AtomicInteger(queue.lanes());
    this.lanes =
        IntStream.range(0, queue.lanes())
            .mapToObj(i -> lane(i, replicas.get(i % replicas.size())))
            .toList();
    lanes.forEach(lane -> lane.setDaemon(true));
    lanes.forEach(Thread::start);
  }

  private Thread lane(int number, Replica replica) {
    return new Thread(() -> runLane(replica), "llara-lane-" + number);
  }

  /** Returns a builder of engines. */
  public static EngineBuilder builder() {
    return new EngineBuilder();
  }

  /** Returns the configuration of the model. */
  public LlamaConfig config() {
    return replicas.get(0).model().config();
  }

  /** Returns the type the model computes in, never {@code AUTO}. */
  public ComputeType computeType() {
    return type;
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
    replicas.get(0).model().requireKnown(prompt.ids());
    return new Work<>(prompt, pooler);
  }

  /** Returns what it computes on, such as {@code cpu}, {@code cuda:0} or {@code cuda:0,1}. */
  public String device() {
    return Accelerators.name(
        replicas.stream().flatMap(replica -> replica.accelerator().stream()).toList());
  }

  private void runLane(Replica replica) {
    try (TensorScope scope = new TensorScope();
        Accelerator.@Nullable Lane lane =
            replica.accelerator().map(Accelerator::openLane).orElse(null);
        InferenceMode inference = new InferenceMode(true)) {
      // Gradient mode and thread count belong to the thread: set once, for all it ever runs.
      Libtorch.useThreads(1);
      for (WorkQueue.Batch batch = queue.take(); !batch.isEmpty(); batch = queue.take()) {
        run(batch, replica, true);
      }
    } finally {
      if (lanesLeft.decrementAndGet() == 0) {
        queue.close(); // Where lanes ended by an error, nobody shall wait for them.
        replicas.forEach(Replica::close); // None is left that could run it.
      }
    }
  }

  /**
   * Runs a batch; then this lane takes the next one, or, if not {@code coming}, goes on with its
   * own.
   */
  private void run(WorkQueue.Batch batch, Replica replica, boolean coming) {
    @Nullable RuntimeException failure = failureOf(batch, replica);
    queue.done(coming);
    batch.work().forEach(work -> work.end(failure));
  }

  /** Makes the results of a batch; returns why there are none, or null. */
  // Throwable: a lane must outlive anything a batch does, or its callers would wait for ever.
  @SuppressWarnings("CatchThrowable")
  private @Nullable RuntimeException failureOf(WorkQueue.Batch batch, Replica replica) {
    boolean wide = batch.alone() && lanes.size() > 1 && replica.accelerator().isEmpty();
    try (TensorScope scope = new TensorScope()) {
      if (wide) {
        Libtorch.useThreads(Math.min(lanes.size(), Runtime.getRuntime().availableProcessors()));
      }
      batch.work().forEach(Work::start);
      replica.run(batch.work(), () -> betweenLayers(batch, replica));
      return null;
    } catch (CancellationException e) {
      return WorkQueue.closedError();
    } catch (DeviceException e) {
      return e;
    } catch (Throwable e) {
      return new LlaraException("the forward pass failed: " + firstLine(e), e);
    } finally {
      if (wide) {
        Libtorch.useThreads(1);
      }
    }
  }

  private static String firstLine(Throwable e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse(e.getClass().getName());
  }

  private void betweenLayers(WorkQueue.Batch batch, Replica replica) {
    if (queue.isClosed() || batch.work().stream().allMatch(Work::isDone)) {
      throw new CancellationException();
    }
    // Single texts step in front of a corpus: they wait for a layer of a batch, not for all of it.
    if (!batch.single()) {
      WorkQueue.Batch singles = queue.takeSingles();
      if (!singles.isEmpty()) {
        run(singles, replica, false);
      }
    }
  }

  /**
   * Ends all calls with an {@link IllegalStateException}, waits for the lanes to leave their
   * forward pass; the last of them frees the models. Harmless when repeated.
   */
  @Override
  public void close() {
    queue.close();
    lanes.forEach(Uninterruptibles::joinUninterruptibly);
    Pointer.trimMemory(); // glibc keeps what was freed, for passes that do not come any more.
  }
}
