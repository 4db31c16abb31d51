package io.llara.train.model;

import static java.util.Objects.requireNonNull;

import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LoraAdapter;
import io.llara.checkpoint.TensorEntry;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.kernels.RecordingKernels;
import io.llara.model.CheckpointWeights;
import io.llara.model.LlamaFactory;
import io.llara.model.LlamaModel;
import io.llara.model.Parts;
import io.llara.model.WeightSource;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.Parameter;
import io.llara.train.autograd.Stage;
import io.llara.train.lora.Dropout;
import io.llara.train.lora.LoraOptions;
import io.llara.train.lora.LoraProjection;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A LLaMA in training: the model of {@code llara-core} over recording kernels, with either all of
 * its weights trained or low-rank updates of its projections and some rows of its embedding matrix.
 *
 * <p>Several lanes may run passes at once; {@link #refresh} and the optimiser need it to
 * themselves. The embedding and the projection on the vocabulary are not recorded: whoever runs a
 * pass adds their gradients with {@link EmbeddingGradient}.
 */
public final class TrainedModel implements AutoCloseable {
  /** Few enough different batches, and little padding. */
  private static final int HALF_PRECISION_ROWS = 64;

  private final CheckpointDirectory checkpoint;
  private final ScalarType type;
  private final @Nullable Updates updates;
  private final int[] trainedRows;
  private final Dropout dropout;
  private final Map<String, Parameter> parameters = new LinkedHashMap<>();

  /** Matrices of tokens in the compute type, by canonical name: trained leaves or frozen copies. */
  private final Map<String, Tensor> matrices = new LinkedHashMap<>();

  /** What the updates of projections are multiplied with, by module. */
  private final Map<String, Double> scales = new LinkedHashMap<>();

  private final Optional<String> headName;
  private @Nullable LlamaModel model;

  private TrainedModel(
      CheckpointDirectory checkpoint,
      ScalarType type,
      @Nullable Updates updates,
      int[] trainedRows,
      Optional<String> headName) {
    this.checkpoint = checkpoint;
    this.type = type;
    this.updates = updates;
    this.trainedRows = trainedRows.clone();
    this.headName = headName;
    this.dropout = new Dropout(updates == null ? 0 : updates.dropout());
  }

  /**
   * Loads a checkpoint to train all of its weights.
   *
   * @param type what to compute in; the optimiser's values are float32 in any case
   * @param positions how many positions a sequence may have
   */
  public static TrainedModel full(CheckpointDirectory checkpoint, ScalarType type, int positions) {
    return load(checkpoint, type, positions, null, new int[0], true);
  }

  /**
   * Loads a checkpoint to train all weights that hidden states depend on: those of {@link #full}
   * but for a projection on the vocabulary of its own. That one is not loaded, and written as the
   * checkpoint has it: no loss of embeddings has a gradient for it, and weight decay alone would
   * only wear it down.
   *
   * @param type what to compute in; the optimiser's values are float32 in any case
   * @param positions how many positions a sequence may have
   */
  public static TrainedModel fullEncoder(
      CheckpointDirectory checkpoint, ScalarType type, int positions) {
    return load(checkpoint, type, positions, null, new int[0], false);
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
      ScalarType type,
      int positions,
      LoraOptions lora,
      int[] trainedRows,
      long seed) {
    return load(checkpoint, type, positions, Updates.drawn(lora, seed), trainedRows, true);
  }

  /**
   * Loads a checkpoint to train low-rank updates, as {@link #lora}, without a projection on the
   * vocabulary, as {@link #fullEncoder}.
   *
   * @param trainedRows token ids whose rows of the embedding matrix train too, ascending
   * @param seed draws the updates' inner factors
   */
  public static TrainedModel loraEncoder(
      CheckpointDirectory checkpoint,
      ScalarType type,
      int positions,
      LoraOptions lora,
      int[] trainedRows,
      long seed) {
    return load(checkpoint, type, positions, Updates.drawn(lora, seed), trainedRows, false);
  }

  /**
   * Loads a checkpoint to go on training the low-rank updates of an adapter, without a projection
   * on the vocabulary, as {@link #fullEncoder}.
   *
   * @param dropout the share of the inputs of {@code A} that is dropped while training, in [0, 1)
   * @throws LlaraException if the adapter has more than low-rank updates of layers
   */
  public static TrainedModel adapterEncoder(
      CheckpointDirectory checkpoint,
      ScalarType type,
      int positions,
      LoraAdapter adapter,
      double dropout) {
    return load(checkpoint, type, positions, Updates.stored(adapter, dropout), new int[0], false);
  }

  private static TrainedModel load(
      CheckpointDirectory checkpoint,
      ScalarType type,
      int positions,
      @Nullable Updates updates,
      int[] trainedRows,
      boolean withHead) {
    try (NoGradGuard noGrad = new NoGradGuard();
        CheckpointWeights weights = new CheckpointWeights(checkpoint, null, true)) {
      LlamaConfig config = checkpoint.config();
      TrainedModel trained =
          new TrainedModel(
              checkpoint,
              type,
              updates,
              trainedRows,
              withHead ? Optional.of(LlamaFactory.headName(config, weights)) : Optional.empty());
      try {
        trained.model =
            LlamaFactory.build(
                config,
                trained.new TrainedParts(config, weights),
                new RecordingKernels(type == ScalarType.Float ? 1 : HALF_PRECISION_ROWS),
                type,
                positions);
        trained.loadHead(weights);
        if (updates != null) {
          updates.requireTaken(trained.scales.keySet());
        }
        return trained;
      } catch (RuntimeException | Error e) {
        trained.close();
        throw e;
      }
    }
  }

  private void loadHead(WeightSource weights) {
    if (headName.isPresent() && !headIsEmbedding()) {
      matrices.put(headName.get(), matrix(headName.get(), weights));
    }
  }

  /** A matrix of tokens: trained as a whole, or frozen. The caller owns it. */
  private Tensor matrix(String name, WeightSource weights) {
    long[] shape = LlamaTensors.headShape(checkpoint.config());
    try (TensorScope scope = new TensorScope()) {
      Tensor value =
          TensorScope.adopt(
              weights.load(
                  name, shape, updates == null ? ScalarType.Float : type, WeightSource.Use.KEPT));
      return updates == null
          ? scope.own(register(Parameter.of(name, value, type)).leaf())
          : scope.own(value);
    }
  }

  private Parameter register(Parameter parameter) {
    parameters.put(parameter.name(), parameter);
    return parameter;
  }

  /** Returns the model; its passes are to be run as {@link #stages}. */
  public LlamaModel model() {
    return requireNonNull(model);
  }

  /** Returns the configuration. */
  public LlamaConfig config() {
    return checkpoint.config();
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
    String name =
        headName.orElseThrow(
            () -> new IllegalStateException("the model was loaded without a head"));
    return requireNonNull(matrices.get(name));
  }

  /** Returns whether the head's matrix is the embedding's; false if there is no head. */
  public boolean headIsEmbedding() {
    return headName.filter(LlamaTensors.EMBEDDING::equals).isPresent();
  }

  /** Returns the token ids whose rows of the embedding matrix train, if not all of them do. */
  public int[] trainedRows() {
    return trainedRows.clone();
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
    return new Stage() {
      @Override
      public Tensor run(Tensor input) {
        return part.apply(input);
      }

      @Override
      public List<Parameter> parameters() {
        return own;
      }
    };
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
        requireNonNull(matrices.get(LlamaTensors.EMBEDDING))
            .index_copy_(0, Tensors.ofInts(trainedRows), rows.leaf());
      }
    }
  }

  /**
   * Returns the weights of the whole model, to be written: trained ones as they are now, updates
   * merged in float32, and everything else as the checkpoint has it. Use and close it before this
   * model changes or closes.
   */
  public MergedWeights weights() {
    return new MergedWeights(this, checkpoint);
  }

  /** Returns what the update of a module is multiplied with, if it has one. */
  Optional<Double> scale(String module) {
    return Optional.ofNullable(scales.get(module));
  }

  /** Returns how the checkpoint has the embedding matrix. */
  TensorEntry storedEmbedding() {
    return checkpoint.tensor(LlamaTensors.EMBEDDING);
  }

  @Override
  public void close() {
    if (model != null) {
      model.close();
    }
    parameters.values().forEach(Parameter::close);
    matrices.values().forEach(Tensor::close);
  }

  /** Hands out leaves as weights, or frozen weights with updates. */
  final class TrainedParts implements Parts {
    /** The name of the trained rows of a frozen embedding matrix. */
    static final String ROWS = "embed_tokens.rows";

    static final String INNER = ".lora_A.weight";
    static final String OUTER = ".lora_B.weight";

    private final LlamaConfig config;
    private final WeightSource weights;
    private final Map<String, long[]> shapes;
    private int places;

    TrainedParts(LlamaConfig config, WeightSource weights) {
      this.config = config;
      this.weights = weights;
      this.shapes = LlamaTensors.required(config);
    }

    @Override
    public Tensor embedding() {
      Tensor matrix = matrix(LlamaTensors.EMBEDDING, weights);
      matrices.put(LlamaTensors.EMBEDDING, matrix);
      try (TensorScope scope = new TensorScope()) {
        if (updates != null && trainedRows.length > 0) {
          // In full precision from the file, not from the matrix we compute with.
          Tensor stored =
              TensorScope.adopt(
                  weights.load(
                      LlamaTensors.EMBEDDING,
                      shape(LlamaTensors.EMBEDDING),
                      ScalarType.Float,
                      WeightSource.Use.PASSING));
          register(Parameter.of(ROWS, stored.index_select(0, Tensors.ofInts(trainedRows)), type));
        }
        return scope.own(matrix);
      }
    }

    @Override
    public Tensor norm(String name) {
      return weight(name);
    }

    @Override
    public Projection projection(String module) {
      String biasName = module + ".bias";
      Tensor bias = shapes.containsKey(biasName) ? weight(biasName) : null;
      Projection base = new PlainProjection(weight(module + ".weight"), bias);
      int place = places++;
      if (updates == null) {
        return base;
      }
      try (TensorScope scope = new TensorScope()) {
        return updates
            .of(module, shape(module + ".weight"), place)
            .<Projection>map(update -> adapted(base, module, update, place, scope))
            .orElse(base);
      } catch (RuntimeException | Error e) {
        base.close(); // No model owns it yet.
        throw e;
      }
    }

    private Projection adapted(
        Projection base, String module, Updates.Update update, int place, TensorScope scope) {
      scales.put(module, update.scale());
      return new LoraProjection(
          base,
          scope.own(register(Parameter.of(module + INNER, update.a(), type)).leaf()),
          scope.own(register(Parameter.of(module + OUTER, update.b(), type)).leaf()),
          update.scale(),
          dropout,
          place);
    }

    /** A trained leaf, or a frozen weight in the compute type. The caller owns it. */
    private Tensor weight(String name) {
      if (updates != null) {
        return weights.load(name, shape(name), type, WeightSource.Use.KEPT);
      }
      try (TensorScope scope = new TensorScope()) {
        Tensor value =
            TensorScope.adopt(
                weights.load(name, shape(name), ScalarType.Float, WeightSource.Use.PASSING));
        return scope.own(register(Parameter.of(name, value, type)).leaf());
      }
    }

    private long[] shape(String name) {
      return requireNonNull(shapes.get(name), name);
    }
  }
}
