package io.llara.train.model;

import static java.util.Objects.requireNonNull;

import com.google.common.math.IntMath;
import io.llara.LlaraException;
import io.llara.attention.AttentionMask;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LoraAdapter;
import io.llara.checkpoint.TensorEntry;
import io.llara.kernels.Accelerator;
import io.llara.kernels.FusedKernels;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.model.CheckpointWeights;
import io.llara.model.LlamaFactory;
import io.llara.model.LlamaModel;
import io.llara.model.Parts;
import io.llara.model.TokenEmbedding;
import io.llara.model.WeightSource;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientSink;
import io.llara.train.autograd.Parameter;
import io.llara.train.autograd.Stage;
import io.llara.train.autograd.StagedBackward;
import io.llara.train.lora.Dropout;
import io.llara.train.lora.LoraOptions;
import io.llara.train.lora.LoraProjection;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A LLaMA in training: the model of {@code llara-core} over kernels that can be differentiated,
 * with either all of its weights trained, or low-rank updates of its projections and some rows of
 * its embedding matrix.
 *
 * <p>Several lanes may run passes at once; {@link #refresh} and the optimiser need it to
 * themselves.
 */
public final class TrainedModel implements AutoCloseable {
  /** Few enough different batches, and little padding. */
  private static final int HALF_PRECISION_ROWS = 64;

  private final LlamaConfig config;

  /** Null if the weights are from elsewhere. */
  private final @Nullable CheckpointDirectory checkpoint;

  private final Settings settings;
  private final Optional<Updates> updates;
  private final int[] trainedRows;
  private final Dropout dropout;
  private final Map<String, Parameter> parameters = new LinkedHashMap<>();

  /** What the updates of projections are multiplied with, by module. */
  private final Map<String, Double> scales = new LinkedHashMap<>();

  /** Matrices of tokens in the compute type: trained leaves or frozen copies. */
  private @Nullable Tensor embedding;

  private @Nullable Tensor head;
  private @Nullable LlamaModel model;

  /**
   * How a model is loaded.
   *
   * @param type what to compute in; the optimiser's values are float32 in any case
   * @param positions how many positions a sequence may have
   * @param head whether there is a loss of tokens. Otherwise a projection on the vocabulary of its
   *     own is not loaded, and written as the checkpoint has it: no loss of embeddings has a
   *     gradient for it, and weight decay alone would only wear it down
   * @param device where weights, and all that is computed of them, are; empty for the processor
   */
  public record Settings(
      ScalarType type, int positions, boolean head, Optional<Accelerator> device) {
    /** Settings for the processor. */
    public Settings(ScalarType type, int positions, boolean head) {
      this(type, positions, head, Optional.empty());
    }
  }

  /** Computes a loss of hidden states. */
  @FunctionalInterface
  public interface HiddenLoss {
    /**
     * Differentiates the loss.
     *
     * @param hidden the final hidden states of the wanted rows, {@code [rows, hidden]}
     * @param head takes the gradient of the projection on the vocabulary, where that trains
     * @return the gradient by {@code hidden}, of its shape and type
     */
    Tensor differentiate(Tensor hidden, HeadGradient head);
  }

  private TrainedModel(
      LlamaConfig config,
      @Nullable CheckpointDirectory checkpoint,
      Settings settings,
      Optional<Updates> updates,
      int[] trainedRows) {
    this.config = config;
    this.checkpoint = checkpoint;
    this.settings = settings;
    this.updates = updates;
    this.trainedRows = trainedRows.clone();
    this.dropout = new Dropout(updates.map(Updates::dropout).orElse(0.0));
  }

  /** Loads a checkpoint to train all of its weights. */
  public static TrainedModel full(CheckpointDirectory checkpoint, Settings settings) {
    return load(checkpoint, settings, Optional.empty());
  }

  /**
   * Loads a checkpoint to train low-rank updates of its projections.
   *
   * @param trainedRows token ids whose rows of the embedding matrix train too, ascending; often
   *     those of new markers
   * @param seed draws the updates' inner factors
   */
  public static TrainedModel lora(
      CheckpointDirectory checkpoint,
      Settings settings,
      LoraOptions lora,
      int[] trainedRows,
      long seed) {
    return load(checkpoint, settings, Optional.of(Updates.drawn(lora, seed)), trainedRows);
  }

  /**
   * Makes a model of any source of weights, to train low-rank updates of its projections; it cannot
   * be written.
   *
   * @param seed draws the updates' inner factors
   */
  public static TrainedModel lora(
      LlamaConfig config, WeightSource weights, Settings settings, LoraOptions lora, long seed) {
    Libtorch.load();
    Optional<Updates> updates = Optional.of(Updates.drawn(lora, seed));
    return load(new TrainedModel(config, null, settings, updates, new int[0]), weights);
  }

  /**
   * Makes sure that an adapter can be trained further.
   *
   * @throws LlaraException if it has more than low-rank updates of layers
   */
  public static void requireTrainable(LoraAdapter adapter) {
    Updates.stored(adapter, 0);
  }

  /**
   * Loads a checkpoint to go on training the low-rank updates of an adapter.
   *
   * @param dropout the share of the inputs of {@code A} that is dropped while training, in [0, 1)
   * @param trainedRows token ids whose rows of the embedding matrix train too, ascending
   * @throws LlaraException if the adapter has more than low-rank updates of layers
   */
  public static TrainedModel adapter(
      CheckpointDirectory checkpoint,
      Settings settings,
      LoraAdapter adapter,
      double dropout,
      int... trainedRows) {
    return load(checkpoint, settings, Optional.of(Updates.stored(adapter, dropout)), trainedRows);
  }

  private static TrainedModel load(
      CheckpointDirectory checkpoint, Settings settings, Optional<Updates> updates, int... rows) {
    Libtorch.load();
    try (CheckpointWeights weights =
        new CheckpointWeights(checkpoint, null, settings.device().isEmpty())) {
      return load(
          new TrainedModel(checkpoint.config(), checkpoint, settings, updates, rows), weights);
    }
  }

  private static TrainedModel load(TrainedModel trained, WeightSource weights) {
    try (NoGradGuard noGrad = new NoGradGuard()) {
      trained.load(weights);
      return trained;
    } catch (RuntimeException | Error e) {
      trained.close();
      throw e;
    }
  }

  private void load(WeightSource weights) {
    boolean tied =
        settings.head() && LlamaFactory.headName(config, weights).equals(LlamaTensors.EMBEDDING);
    model =
        LlamaFactory.build(
            config,
            new TrainedParts(weights),
            settings
                .device()
                .map(Accelerator::trainingKernels)
                .orElseGet(FusedKernels::forTraining),
            settings.type(),
            settings.positions());
    if (settings.head()) {
      head = tied ? embedding : matrix(LlamaTensors.HEAD, weights);
    }
  }

  /** A matrix of tokens: trained as a whole, or frozen. The caller owns it. */
  private Tensor matrix(String name, WeightSource weights) {
    if (updates.isPresent()) {
      return frozen(name, weights);
    }
    try (TensorScope scope = new TensorScope()) {
      Tensor value = TensorScope.adopt(weights.load(name, ScalarType.Float, WeightSource.Use.KEPT));
      return scope.own(register(name, value));
    }
  }

  /** A weight in the compute type. The caller owns it. */
  private Tensor frozen(String name, WeightSource weights) {
    Tensor host = weights.load(name, settings.type(), WeightSource.Use.KEPT);
    if (settings.device().isEmpty()) {
      return host;
    }
    try (TensorScope scope = new TensorScope()) {
      return settings.device().get().upload(TensorScope.adopt(host), settings.type());
    }
  }

  /**
   * Makes a parameter of a value and returns its leaf, in the innermost scope.
   *
   * @param value in the processor's memory
   */
  private Tensor register(String name, Tensor value) {
    Parameter parameter;
    try (TensorScope scope = new TensorScope()) {
      Tensor first =
          settings
              .device()
              .map(device -> TensorScope.adopt(device.upload(value, ScalarType.Float)))
              .orElse(value);
      parameter = Parameter.of(name, first, settings.type());
    }
    parameters.put(name, parameter);
    return parameter.leaf();
  }

  /** Returns a tensor of the processor's memory on this model's device, in the innermost scope. */
  public Tensor placed(Tensor host) {
    return Tensors.placed(host, requireNonNull(embedding));
  }

  /** Returns the model of inference, over the same weights. */
  public LlamaModel model() {
    return requireNonNull(model);
  }

  /** Returns the device that it is on; empty for the processor. */
  public Optional<Accelerator> device() {
    return settings.device();
  }

  /** Returns the configuration. */
  public LlamaConfig config() {
    return config;
  }

  /** Returns all trained tensors, in the order a forward pass meets them. */
  public List<Parameter> parameters() {
    return List.copyOf(parameters.values());
  }

  /** Returns a trained tensor by name; empty if it is frozen. */
  public Optional<Parameter> parameter(String name) {
    return Optional.ofNullable(parameters.get(name));
  }

  /** Returns the source of dropout; each thread starts it for a pass of training. */
  public Dropout dropout() {
    return dropout;
  }

  /**
   * Returns the projection's weight, {@code [vocabulary, hidden]}; it stays this model's.
   *
   * @throws IllegalStateException if it was loaded without one
   */
  public Tensor head() {
    if (head == null) {
      throw new IllegalStateException("the model was loaded without a head");
    }
    return head;
  }

  /** Returns whether the head's matrix is the embedding's; false if there is no head. */
  public boolean headIsEmbedding() {
    return head != null && head == embedding;
  }

  /** Returns the token ids whose rows of the embedding matrix train, if not all of them do. */
  public int[] trainedRows() {
    return trainedRows.clone();
  }

  /**
   * Runs packed prompts forward and returns the final hidden states of some rows, {@code [rows,
   * hidden]}, in the innermost scope.
   *
   * @throws IllegalArgumentException if a token id is not in the vocabulary
   */
  public Tensor forward(AttentionMask mask, int[] rows) {
    model().requireKnown(mask.rowIds());
    return model().forward(mask, rows, () -> {});
  }

  /**
   * Runs packed prompts forward and backward.
   *
   * @param rows the rows whose hidden states the loss reads, ascending
   * @param recompute whether layers are run again in the backward pass instead of being kept
   * @param sink takes the gradients, layer by layer from the last, the embedding's at the end
   * @throws IllegalArgumentException if a token id is not in the vocabulary
   */
  public void differentiate(
      AttentionMask mask, int[] rows, boolean recompute, HiddenLoss loss, GradientSink sink) {
    model().requireKnown(mask.rowIds());
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope();
        EmbeddingGradient tokens = new EmbeddingGradient(this)) {
      LlamaModel.Pass pass = model().pass(mask, rows);
      try (StagedBackward layers = new StagedBackward(stages(pass), recompute)) {
        Tensor embedded = pass.embed();
        Tensor hidden = layers.forward(embedded);
        Tensor gradient = loss.differentiate(hidden, tokens.head());
        tokens.deliverHead(sink);
        scope.free(hidden);
        scope.free(embedded);
        tokens.deliverEmbedding(pass.ids(), layers.backward(gradient, sink), sink);
      }
    }
  }

  /**
   * Returns the layers of a pass and the final norm, as stages with their parameters. From {@code
   * [rows, hidden]}, as {@link LlamaModel.Pass#embed} gives them, to {@code [wanted rows, hidden]}.
   */
  public List<Stage> stages(LlamaModel.Pass pass) {
    List<Stage> stages = new ArrayList<>();
    for (int i = 0; i < pass.layers(); i++) {
      int layer = i;
      stages.add(stage(x -> pass.layer(layer, x), "layers." + i + "."));
    }
    stages.add(stage(pass::finish, LlamaTensors.FINAL_NORM));
    return stages;
  }

  private Stage stage(UnaryOperator<Tensor> part, String prefix) {
    List<Parameter> own =
        parameters.values().stream()
            .filter(parameter -> parameter.name().startsWith(prefix))
            .toList();
    return new Stage(part, own);
  }

  /** Brings what the model computes with up to date after parameters changed. */
  public void refresh() {
    parameters.values().forEach(Parameter::refresh);
    refreshRows();
  }

  /**
   * Puts trained rows into the frozen matrix, for those who refreshed the parameters themselves.
   */
  public void refreshRows() {
    Parameter rows = parameters.get(TrainedParts.ROWS);
    if (rows != null) {
      try (NoGradGuard noGrad = new NoGradGuard();
          TensorScope scope = new TensorScope()) {
        Tensor matrix = requireNonNull(embedding);
        matrix.index_copy_(0, Tensors.ofInts(trainedRows, matrix), rows.leaf());
      }
    }
  }

  /**
   * Returns the weights of the whole model, to be written: trained ones as they are now, updates
   * merged in float32, and everything else as the checkpoint has it. Use and close it before this
   * model changes or closes.
   */
  public MergedWeights weights() {
    return new MergedWeights(this, checkpoint());
  }

  /** Returns what the update of a module is multiplied with, if it has one. */
  Optional<Double> scale(String module) {
    return Optional.ofNullable(scales.get(module));
  }

  /** Returns how the checkpoint has the embedding matrix. */
  TensorEntry storedEmbedding() {
    return checkpoint().tensor(LlamaTensors.EMBEDDING);
  }

  private CheckpointDirectory checkpoint() {
    if (checkpoint == null) {
      throw new IllegalStateException("the model was made without a checkpoint");
    }
    return checkpoint;
  }

  @Override
  public void close() {
    if (model != null) {
      model.close();
    }
    parameters.values().forEach(Parameter::close);
    if (head != null && head != embedding) {
      head.close();
    }
    if (embedding != null) {
      embedding.close();
    }
  }

  /** Hands out leaves as weights, or frozen weights with updates. */
  final class TrainedParts implements Parts {
    /** The name of the trained rows of a frozen embedding matrix. */
    static final String ROWS = "embed_tokens.rows";

    static final String INNER = ".lora_A.weight";
    static final String OUTER = ".lora_B.weight";

    private final WeightSource weights;
    private final Map<String, long[]> shapes = LlamaTensors.required(config);
    private int places;

    TrainedParts(WeightSource weights) {
      this.weights = weights;
    }

    @Override
    public TokenEmbedding embedding() {
      Tensor matrix = matrix(LlamaTensors.EMBEDDING, weights);
      embedding = matrix;
      try (TensorScope scope = new TensorScope()) {
        if (trainedRows.length > 0) {
          // In full precision from the file, not from the matrix we compute with.
          Tensor stored = floats(LlamaTensors.EMBEDDING);
          register(ROWS, stored.index_select(0, Tensors.ofInts(trainedRows)));
        }
        return new TokenEmbedding(scope.own(matrix), settings.type());
      }
    }

    @Override
    public Tensor norm(String name) {
      return weight(name);
    }

    @Override
    public Projection projection(String module) {
      String biasName = module + ".bias";
      Tensor bias = weights.has(biasName) ? weight(biasName) : null;
      Projection base = new PlainProjection(weight(module + ".weight"), bias);
      int place = places++;
      try (TensorScope scope = new TensorScope()) {
        return updates
            .flatMap(
                all ->
                    all.factors().of(module, requireNonNull(shapes.get(module + ".weight")), place))
            .map(update -> adapted(base, module, update, place))
            .orElse(base);
      } catch (RuntimeException | Error e) {
        base.close(); // No model owns it yet.
        throw e;
      }
    }

    /**
     * oneDNN, which multiplies half precision, compiles a kernel for each number of rows it meets
     * and keeps it: batches that are never of one size would fill the memory.
     */
    @Override
    public IntUnaryOperator rowPadding() {
      return settings.type() == ScalarType.Float || settings.device().isPresent()
          ? rows -> rows
          : rows ->
              IntMath.divide(rows, HALF_PRECISION_ROWS, RoundingMode.CEILING) * HALF_PRECISION_ROWS;
    }

    private Projection adapted(Projection base, String module, Updates.Update update, int place) {
      scales.put(module, update.scale());
      try (TensorScope scope = new TensorScope()) {
        return new LoraProjection(
            base,
            scope.own(register(module + INNER, update.a())),
            scope.own(register(module + OUTER, update.b())),
            update.scale(),
            dropout,
            place);
      }
    }

    /** A trained leaf, or a frozen weight in the compute type. The caller owns it. */
    private Tensor weight(String name) {
      if (updates.isPresent()) {
        return frozen(name, weights);
      }
      try (TensorScope scope = new TensorScope()) {
        return scope.own(register(name, floats(name)));
      }
    }

    /** The checkpoint's value in float32, in the innermost scope. */
    private Tensor floats(String name) {
      return TensorScope.adopt(weights.load(name, ScalarType.Float, WeightSource.Use.PASSING));
    }
  }
}
