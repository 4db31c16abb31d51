package io.llara.train.model;

import static java.util.Objects.requireNonNull;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.TensorEntry;
import io.llara.model.CheckpointWeights;
import io.llara.model.LlamaFactory;
import io.llara.model.LlamaModel;
import io.llara.model.Parts;
import io.llara.model.WeightSource;
import io.llara.spi.PlainProjection;
import io.llara.spi.Projection;
import io.llara.spi.RecordingKernels;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.Parameter;
import io.llara.train.autograd.Recording;
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
import org.bytedeco.pytorch.Generator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
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
  private final @Nullable LoraOptions lora;
  private final int[] trainedRows;
  private final Dropout dropout;
  private final Map<String, Parameter> parameters = new LinkedHashMap<>();

  /** Matrices of tokens in the compute type, by canonical name: trained leaves or frozen copies. */
  private final Map<String, Tensor> matrices = new LinkedHashMap<>();

  private final String headName;
  private @Nullable LlamaModel model;

  private TrainedModel(
      CheckpointDirectory checkpoint,
      ScalarType type,
      @Nullable LoraOptions lora,
      int[] trainedRows,
      String headName) {
    this.checkpoint = checkpoint;
    this.type = type;
    this.lora = lora;
    this.trainedRows = trainedRows.clone();
    this.headName = headName;
    this.dropout = new Dropout(lora == null ? 0 : lora.dropout());
  }

  /**
   * Loads a checkpoint to train all of its weights.
   *
   * @param type what to compute in; the optimiser's values are float32 in any case
   * @param positions how many positions a sequence may have
   */
  public static TrainedModel full(CheckpointDirectory checkpoint, ScalarType type, int positions) {
    return load(checkpoint, type, positions, null, new int[0], 0);
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
    return load(checkpoint, type, positions, lora, trainedRows, seed);
  }

  private static TrainedModel load(
      CheckpointDirectory checkpoint,
      ScalarType type,
      int positions,
      @Nullable LoraOptions lora,
      int[] trainedRows,
      long seed) {
    try (Recording off = Recording.off();
        CheckpointWeights weights = new CheckpointWeights(checkpoint, null, true)) {
      LlamaConfig config = checkpoint.config();
      TrainedModel trained =
          new TrainedModel(
              checkpoint, type, lora, trainedRows, LlamaFactory.headName(config, weights));
      try {
        trained.model =
            LlamaFactory.build(
                config,
                trained.new TrainedParts(config, weights, seed),
                new RecordingKernels(type == ScalarType.Float ? 1 : HALF_PRECISION_ROWS),
                type,
                positions);
        trained.loadHead(weights);
        return trained;
      } catch (RuntimeException | Error e) {
        trained.close();
        throw e;
      }
    }
  }

  private void loadHead(WeightSource weights) {
    if (headName.equals(LlamaTensors.EMBEDDING)) {
      return;
    }
    matrices.put(headName, matrix(headName, weights));
  }

  /** A matrix of tokens: trained as a whole, or frozen. The caller owns it. */
  private Tensor matrix(String name, WeightSource weights) {
    long[] shape = LlamaTensors.headShape(checkpoint.config());
    try (TensorScope scope = new TensorScope()) {
      Tensor value =
          TensorScope.adopt(
              weights.load(
                  name, shape, lora == null ? ScalarType.Float : type, WeightSource.Use.KEPT));
      return lora == null
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

  /** Returns the projection's weight, {@code [vocabulary, hidden]}; it stays this model's. */
  public Tensor head() {
    return requireNonNull(matrices.get(headName));
  }

  /** Returns the canonical name of the head's matrix: the embedding's where they are tied. */
  public String headName() {
    return headName;
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
      try (Recording off = Recording.off();
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

  @Nullable LoraOptions loraOptions() {
    return lora;
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
    private final long seed;
    private int places;

    TrainedParts(LlamaConfig config, WeightSource weights, long seed) {
      this.config = config;
      this.weights = weights;
      this.shapes = LlamaTensors.required(config);
      this.seed = seed;
    }

    @Override
    public Tensor embedding() {
      Tensor matrix = matrix(LlamaTensors.EMBEDDING, weights);
      matrices.put(LlamaTensors.EMBEDDING, matrix);
      try (TensorScope scope = new TensorScope()) {
        if (lora != null && trainedRows.length > 0) {
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
      return lora == null || !lora.targets().contains(module.substring(module.lastIndexOf('.') + 1))
          ? base
          : adapted(base, module, lora, place);
    }

    private Projection adapted(Projection base, String module, LoraOptions options, int place) {
      long[] shape = shape(module + ".weight");
      try (TensorScope scope = new TensorScope()) {
        // As PEFT draws it: uniform within 1 / √in.
        double bound = 1 / Math.sqrt(shape[1]);
        Generator generator = torch.make_generator_cpu(Dropout.mix(seed) + place);
        Tensor a =
            torch
                .empty(
                    new long[] {options.rank(), shape[1]},
                    new TensorOptions(ScalarType.Float),
                    null)
                .uniform_(-bound, bound, new GeneratorOptional(generator));
        Tensor b = torch.zeros(shape[0], options.rank());
        return new LoraProjection(
            base,
            scope.own(register(Parameter.of(module + INNER, a, type)).leaf()),
            scope.own(register(Parameter.of(module + OUTER, b, type)).leaf()),
            options.scale(),
            dropout,
            place);
      }
    }

    /** A trained leaf, or a frozen weight in the compute type. The caller owns it. */
    private Tensor weight(String name) {
      if (lora != null) {
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
