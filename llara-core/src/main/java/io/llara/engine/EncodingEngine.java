package io.llara.engine;

import io.llara.ComputeType;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LoraAdapter;
import io.llara.engine.WorkQueue.Sink;
import io.llara.engine.WorkQueue.Work;
import io.llara.kernels.FusedKernels;
import io.llara.kernels.PackedProjection;
import io.llara.kernels.Projection;
import io.llara.model.CheckpointWeights;
import io.llara.model.LlamaFactory;
import io.llara.model.LlamaModel;
import io.llara.model.StoredParts;
import io.llara.model.WeightSource;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import io.llara.tensor.Cpu;
import io.llara.tensor.Libtorch;
import io.llara.tensor.Memory;
import io.llara.tensor.NumberTypes;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs prompts through a model on lanes: threads of this engine's own, the only ones that do native
 * work. Thread-safe; prompts that come one by one from several threads share batches.
 */
public final class EncodingEngine implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(EncodingEngine.class);

  /** Weights that could stay in their files are not copied into a faster layout beyond this. */
  private static final long LARGEST_COPY = 8L << 30;

  /** Told from the calling thread how many of its prompts are done. */
  @FunctionalInterface
  public interface Progress {
    /** Does nothing. */
    Progress NONE = count -> {};

    /** Takes the number of prompts done so far. */
    void done(int count);
  }

  /** A running call: {@link #await} gives its results, {@link #abandon} lets go of it. */
  public static final class Pending<T> {
    private final Call<T> call;

    private Pending(Call<T> call) {
      this.call = call;
    }

    /**
     * Waits for the results, in the order of the prompts.
     *
     * @throws InterruptedException if this thread is interrupted; the call is then abandoned
     * @throws IllegalStateException if the engine was closed meanwhile
     */
    public List<T> await(Progress progress) throws InterruptedException {
      return call.await(progress::done);
    }

    /** Tells the lanes that nobody waits any more. */
    public void abandon() {
      call.abandon();
    }
  }

  /** Thrown within a lane to leave a forward pass that nobody waits for. */
  private static final class Abandoned extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Abandoned() {
      super("abandoned", null, false, false);
    }
  }

  private final LlamaModel model;
  private final Function<ScalarType, Projection> head;
  private final ComputeType computeType;
  private final EngineOptions options;
  private final WorkQueue queue;
  private final List<Thread> lanes;

  private EncodingEngine(
      LlamaModel model,
      Function<ScalarType, Projection> head,
      ComputeType computeType,
      int batchTokens,
      EngineOptions options) {
    this.model = model;
    this.head = head;
    this.computeType = computeType;
    this.options = options;
    this.queue = new WorkQueue(options.lanes(), batchTokens);
    this.lanes =
        IntStream.range(0, options.lanes())
            .mapToObj(i -> new Thread(this::runLane, "llara-lane-" + i))
            .toList();
    lanes.forEach(lane -> lane.setDaemon(true));
    lanes.forEach(Thread::start);
  }

  /**
   * Loads a model and starts its lanes.
   *
   * @throws LlaraException if the weights or the adapter cannot be loaded
   */
  public static EncodingEngine open(CheckpointDirectory checkpoint, EngineOptions options) {
    Libtorch.load();
    LlamaConfig config = options.config() == null ? checkpoint.config() : options.config();
    LoraAdapter adapter =
        options.adapter() == null ? null : LoraAdapter.open(options.adapter(), config);
    Function<ScalarType, Projection> head =
        type -> {
          try (CheckpointWeights weights = new CheckpointWeights(checkpoint, adapter, false)) {
            return LlamaFactory.head(config, weights, type);
          }
        };
    try (CheckpointWeights weights =
        new CheckpointWeights(checkpoint, adapter, options.copyWeights())) {
      return start(config, weights, head, options);
    }
  }

  /**
   * Builds a model from any source of weights and starts its lanes; such an engine has no {@link
   * #logits}.
   */
  public static EncodingEngine of(LlamaConfig config, WeightSource weights, EngineOptions options) {
    Libtorch.load();
    Function<ScalarType, Projection> head =
        type -> {
          throw new UnsupportedOperationException("this engine was made without a checkpoint");
        };
    return start(config, weights, head, options);
  }

  private static EncodingEngine start(
      LlamaConfig config,
      WeightSource weights,
      Function<ScalarType, Projection> head,
      EngineOptions options) {
    ComputeType computeType = Cpu.resolve(options.computeType());
    if (computeType == ComputeType.BFLOAT16 && !Cpu.multipliesBfloat16()) {
      LOG.warn(
          "this processor does not multiply bfloat16 natively; float32 would be several times faster");
    }
    ScalarType type = NumberTypes.of(computeType);
    boolean packed = packs(config, weights, type, options);
    int batchTokens = batchTokens(options, computeType);
    long begin = System.nanoTime();
    LlamaModel model =
        LlamaFactory.build(
            config,
            new StoredParts(config, weights, type, packed, batchTokens),
            FusedKernels.orLibtorch(),
            type,
            options.maxTokens());
    LOG.debug(
        "loaded {} layers in {} ms: {}, {} lanes, projections {}",
        config.layers(),
        (System.nanoTime() - begin) / 1_000_000,
        computeType,
        options.lanes(),
        packed ? "packed" : "plain");
    return new EncodingEngine(model, head, computeType, batchTokens, options);
  }

  /**
   * Measured: fewer rows read the weights more often, more rows fall out of the processor's cache
   * between two operations. Rows of half the size, multiplied faster, want twice as many.
   */
  private static int batchTokens(EngineOptions options, ComputeType computeType) {
    if (options.batchTokens() != null) {
      return options.batchTokens();
    }
    return computeType == ComputeType.BFLOAT16 ? 1024 : 512;
  }

  /**
   * Packed projections are a copy of the weights in a faster layout. A model that takes more than a
   * quarter of the memory, or much of it that could be views of its files, is left as it is: there
   * it shares its pages with other processes and is ready at once.
   */
  private static boolean packs(
      LlamaConfig config, WeightSource weights, ScalarType type, EngineOptions options) {
    if (!PackedProjection.available(type)) {
      return false;
    }
    if (options.packWeights() != null) {
      return options.packWeights();
    }
    long all = 0;
    long views = 0;
    for (Map.Entry<String, long[]> tensor : LlamaTensors.required(config).entrySet()) {
      if (tensor.getKey().endsWith("_proj.weight")) {
        long bytes = tensor.getValue()[0] * tensor.getValue()[1] * torch.elementSize(type);
        all += bytes;
        if (!options.copyWeights() && weights.storedType(tensor.getKey(), type) == type) {
          views += bytes;
        }
      }
    }
    return all <= Memory.physicalBytes() / 4 && views <= LARGEST_COPY;
  }

  /** Returns the configuration of the model. */
  public LlamaConfig config() {
    return model.config();
  }

  /** Returns the type the model computes in, never {@code AUTO}. */
  public ComputeType computeType() {
    return computeType;
  }

  /** Returns the number of lanes. */
  public int lanes() {
    return options.lanes();
  }

  /** Returns the longest prompt this engine takes, in tokens. */
  public int maxTokens() {
    return options.maxTokens();
  }

  /**
   * Starts to encode prompts, longest first, in batches of their own: the same prompts give the
   * same vectors to the last bit, whatever else runs.
   *
   * @throws IllegalArgumentException if a prompt is too long, has a token id outside of the
   *     vocabulary, or nothing to pool
   * @throws IllegalStateException if the engine is closed
   */
  public Pending<PooledVectors> submit(List<Prompt> prompts) {
    prompts.forEach(EncodingEngine::requirePooled);
    return submit(prompts, false, this::pool);
  }

  private static void requirePooled(Prompt prompt) {
    if (prompt.pooledSelf().isEmpty() && prompt.pooledNext().isEmpty()) {
      throw new IllegalArgumentException("the prompt has no suffix to pool");
    }
  }

  /** Encodes prompts and waits; otherwise as {@link #submit}. */
  public List<PooledVectors> encode(List<Prompt> prompts) {
    return awaitUnlessInterrupted(submit(prompts));
  }

  /**
   * Encodes a prompt and waits. It may meet prompts of other threads in a batch, or, where nothing
   * else is to be done, use all lanes' processors: its last bits depend on that. Otherwise as
   * {@link #submit}.
   */
  public PooledVectors encode(Prompt prompt) {
    requirePooled(prompt);
    check(prompt);
    Call<PooledVectors> call = new Call<>(1);
    if (!queue.addSingle(new Work(prompt, false, sink(call, 0, prompt, this::pool)))) {
      throw closedError();
    }
    return awaitUnlessInterrupted(new Pending<>(call)).get(0);
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
    return awaitUnlessInterrupted(submit(prompts, true, (prompt, rows) -> rows));
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
        Projection projection = head.apply(ScalarType.Float)) {
      return Tensors.toFloats(
          projection.apply(Tensors.ofFloats(hiddenStates, hiddenStates.length / hidden, hidden)));
    }
  }

  private <T> List<T> awaitUnlessInterrupted(Pending<T> pending) {
    try {
      return pending.await(Progress.NONE);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LlaraException("interrupted while waiting for a forward pass", e);
    }
  }

  /** Turns the rows a lane delivers for a prompt into its result. */
  private interface Finish<T> {
    T apply(Prompt prompt, float[] rows);
  }

  private <T> Pending<T> submit(List<Prompt> prompts, boolean allRows, Finish<T> finish) {
    prompts.forEach(this::check);
    Call<T> call = new Call<>(prompts.size());
    List<Work> work = new ArrayList<>(prompts.size());
    for (int i = 0; i < prompts.size(); i++) {
      Prompt prompt = prompts.get(i);
      work.add(new Work(prompt, allRows, sink(call, i, prompt, finish)));
    }
    // Prompts of like length meet in a batch, and the short ones at the end let the lanes finish
    // together.
    work.sort(Comparator.comparingInt(Work::rows).reversed());
    if (!queue.add(work)) {
      throw closedError();
    }
    return new Pending<>(call);
  }

  private static <T> Sink sink(Call<T> call, int index, Prompt prompt, Finish<T> finish) {
    return new Sink() {
      @Override
      public void accept(float[] rows) {
        call.fill(index, finish.apply(prompt, rows));
      }

      @Override
      public void fail(RuntimeException error) {
        call.fail(error);
      }

      @Override
      public boolean abandoned() {
        return call.ended();
      }
    };
  }

  private void check(Prompt prompt) {
    // In a joint prompt the two suffixes stand at the same positions: what counts is the longest
    // path through it.
    int length = prompt.textEnd() + Math.max(prompt.selfLength(), prompt.nextLength());
    if (length > options.maxTokens()) {
      throw new IllegalArgumentException(
          "the prompt has "
              + length
              + " tokens; this engine was opened for "
              + options.maxTokens());
    }
    model.requireKnown(prompt.ids());
  }

  private static IllegalStateException closedError() {
    return new IllegalStateException("the encoder is closed");
  }

  private PooledVectors pool(Prompt prompt, float[] rows) {
    int self = prompt.pooledSelf().length();
    return new PooledVectors(
        mean(rows, 0, self), mean(rows, self, self + prompt.pooledNext().length()));
  }

  /** The mean of rows {@code [begin, end)}, summed in float64; null for no rows. */
  private float @Nullable [] mean(float[] rows, int begin, int end) {
    if (begin == end) {
      return null;
    }
    int hidden = config().hiddenSize();
    float[] mean = new float[hidden];
    for (int column = 0; column < hidden; column++) {
      double sum = 0;
      for (int row = begin; row < end; row++) {
        sum += rows[row * hidden + column];
      }
      mean[column] = (float) (sum / (end - begin));
    }
    return mean;
  }

  private void runLane() {
    // Gradient mode and thread count belong to the thread: set once, for all it ever runs.
    Libtorch.useThreads(1);
    try (TensorScope scope = new TensorScope();
        InferenceMode inference = new InferenceMode(true)) {
      while (true) {
        WorkQueue.Batch batch = queue.take();
        if (batch.work().isEmpty()) {
          return;
        }
        try {
          run(batch);
        } finally {
          queue.done();
        }
      }
    }
  }

  // Throwable: a lane must outlive anything a batch does, or its callers would wait for ever.
  @SuppressWarnings("CatchThrowable")
  private void run(WorkQueue.Batch batch) {
    boolean wide = batch.alone() && options.lanes() > 1;
    try (TensorScope scope = new TensorScope()) {
      if (wide) {
        Libtorch.useThreads(Math.min(options.lanes(), Runtime.getRuntime().availableProcessors()));
      }
      forward(batch.work());
    } catch (Abandoned e) {
      batch.work().forEach(work -> work.sink().fail(closedError()));
    } catch (Throwable e) {
      LlaraException error = new LlaraException("the forward pass failed: " + firstLine(e), e);
      batch.work().forEach(work -> work.sink().fail(error));
    } finally {
      if (wide) {
        Libtorch.useThreads(1);
      }
    }
  }

  private static String firstLine(Throwable e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse(e.getClass().getName());
  }

  private void forward(List<Work> batch) {
    AttentionMask mask =
        AttentionMaskFactory.create(batch.stream().map(Work::prompt).toList(), Layout.packed());
    int[] rows = wantedRows(batch, mask);
    float[] states = Tensors.toFloats(model.forward(mask, rows, () -> leaveIfUnwanted(batch)));
    int hidden = config().hiddenSize();
    int begin = 0;
    for (Work work : batch) {
      int end = begin + wantedRows(work) * hidden;
      work.sink().accept(Arrays.copyOfRange(states, begin, end));
      begin = end;
    }
  }

  private static int wantedRows(Work work) {
    Prompt prompt = work.prompt();
    return work.allRows()
        ? prompt.length()
        : prompt.pooledSelf().length() + prompt.pooledNext().length();
  }

  private static int[] wantedRows(List<Work> batch, AttentionMask mask) {
    IntStream.Builder rows = IntStream.builder();
    for (int i = 0; i < batch.size(); i++) {
      if (batch.get(i).allRows()) {
        addRange(rows, new TokenRange(mask.sequenceBegin(i), mask.sequenceEnd(i)));
      } else {
        addRange(rows, mask.pooled(i, Mode.SELF));
        addRange(rows, mask.pooled(i, Mode.NEXT));
      }
    }
    return rows.build().toArray();
  }

  private static void addRange(IntStream.Builder rows, TokenRange range) {
    for (int row = range.begin(); row < range.end(); row++) {
      rows.add(row);
    }
  }

  private void leaveIfUnwanted(List<Work> batch) {
    if (queue.isClosed() || batch.stream().allMatch(work -> work.sink().abandoned())) {
      throw new Abandoned();
    }
  }

  /**
   * Ends all calls with an {@link IllegalStateException}, waits for the lanes to leave their
   * forward pass and frees the model. Harmless when repeated.
   */
  @Override
  public void close() {
    queue.close().forEach(work -> work.sink().fail(closedError()));
    boolean interrupted = false;
    for (Thread lane : lanes) {
      while (lane.isAlive()) {
        try {
          lane.join();
        } catch (InterruptedException e) {
          interrupted = true; // The model must not be freed under a running lane.
        }
      }
    }
    synchronized (model) {
      model.close();
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
