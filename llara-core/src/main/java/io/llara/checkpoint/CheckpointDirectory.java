package io.llara.checkpoint;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A model in the directory layout of the Hugging Face hub: {@code config.json}, weights in {@code
 * model.safetensors} or in shards listed by {@code model.safetensors.index.json}, tokenizer files,
 * and maybe {@code llara.json} or the {@code modules.json} of the sentence-transformers library.
 *
 * <p>Opening reads the settings and the headers of the weight files, and checks that every tensor
 * of the configuration is there, with the shape that the configuration implies and in a type this
 * library computes with, and that there is none it would have to ignore. The weights themselves are
 * not read. Immutable and thread-safe.
 */
public final class CheckpointDirectory {
  public static final String CONFIG = "config.json";

  /** Owner and name; a path may look the same. */
  private static final Pattern HUB_ID = Pattern.compile("\\w[\\w.-]*/\\w[\\w.-]*");

  private final Path path;
  private final LlamaConfig config;
  private final Optional<Quantization> quantization;
  private final WeightFiles.Found weights;
  private final Optional<LlaraJson> llaraJson;

  private CheckpointDirectory(Path path) {
    this.path = path;
    this.config = LlamaConfig.read(path.resolve(CONFIG));
    this.quantization = Quantization.read(StrictJson.modelFile(path.resolve(CONFIG)));
    this.weights = WeightFiles.read(path, config, quantization);
    Path settings = path.resolve(LlaraJson.FILE_NAME);
    this.llaraJson =
        Files.exists(settings)
            ? Optional.of(LlaraJson.read(settings))
            : SentenceTransformers.read(path, config);
  }

  /**
   * Opens a checkpoint.
   *
   * @throws ModelLoadException if the directory or one of its files is missing, damaged, or does
   *     not fit the others; the message names the file and the tensor or key
   * @throws io.llara.UnsupportedModelException if it holds something this library does not run,
   *     such as another architecture or pickled {@code .bin} weights
   */
  public static CheckpointDirectory open(Path dir) {
    requireDirectory(dir, "a checkpoint");
    return new CheckpointDirectory(dir);
  }

  static void requireDirectory(Path dir, String owner) {
    if (Files.isDirectory(dir)) {
      return;
    }
    boolean exists = Files.exists(dir);
    String name = dir.toString().replace(File.separatorChar, '/');
    String advice = "";
    if (name.endsWith(".gguf")) {
      advice =
          ": an Encoder opens a GGUF file itself; for all else 'llara import FILE DIR', or GgufImporter, makes a directory of it";
    } else if (!exists && HUB_ID.matcher(name).matches()) {
      advice =
          ": ModelSource.hub(\"%s\") downloads a model of the Hugging Face hub, 'hf download %s --local-dir DIR' anything of it"
              .formatted(name, name);
    }
    throw new ModelLoadException(
        "%s: %s; expected the directory of %s%s"
            .formatted(dir, exists ? "is not a directory" : "does not exist", owner, advice));
  }

  /** Returns the directory; the tokenizer's files lie in it too. */
  public Path path() {
    return path;
  }

  /** Returns the hyper-parameters. */
  public LlamaConfig config() {
    return config;
  }

  /**
   * Returns all weights by canonical name ({@code embed_tokens.weight}, {@code
   * layers.0.self_attn.q_proj.weight}, …, {@code norm.weight}, {@code lm_head.weight}); see {@link
   * LlamaTensors}. {@code lm_head.weight} may be absent; with tied embeddings it always is, even if
   * the files hold a copy. A matrix that is quantised is there with its integers as they are
   * stored, and has {@link #scales}. Unmodifiable.
   */
  public Map<String, TensorEntry> tensors() {
    return weights.tensors();
  }

  /** Returns the scales of a weight, by canonical name, if it is quantised. */
  public Optional<TensorEntry> scales(String name) {
    return Optional.ofNullable(weights.scales().get(name));
  }

  /** Returns how matrices are quantised, if they are. */
  public Optional<Quantization> quantization() {
    return quantization;
  }

  /** Returns the floating type of the matrices or, if they are quantised, of the vectors. */
  public StorageType weightType() {
    return tensor(quantization.isPresent() ? LlamaTensors.FINAL_NORM : LlamaTensors.EMBEDDING)
        .type();
  }

  /**
   * Fails if the checkpoint is quantised.
   *
   * @param what what cannot be done, such as "tokens are added"
   * @throws io.llara.UnsupportedModelException naming the file that says it
   */
  public void requireNotQuantized(String what) {
    if (quantization.isPresent()) {
      throw new UnsupportedModelException(
          "%s: the weights are quantised; %s before that".formatted(path.resolve(CONFIG), what));
    }
  }

  /**
   * Returns a weight by canonical name.
   *
   * @throws ModelLoadException if the checkpoint has none of that name
   */
  public TensorEntry tensor(String name) {
    TensorEntry entry = tensors().get(name);
    if (entry == null) {
      throw new ModelLoadException(
          "%s: tensor %s is missing from the checkpoint".formatted(path, Messages.quote(name)));
    }
    return entry;
  }

  /** Returns the files that hold the weights, in no particular order, each once. */
  public List<Path> weightFiles() {
    return Stream.concat(
            Stream.of(weights.tensors(), weights.scales())
                .flatMap(entries -> entries.values().stream())
                .map(TensorEntry::file),
            denseLocation().map(layer -> path.resolve(layer.file())).stream())
        .distinct()
        .toList();
  }

  /**
   * Reads the linear layer behind the pooling, if there is one.
   *
   * @throws ModelLoadException if its file is missing or damaged, or does not fit the model
   */
  public Optional<DenseLayer> dense() {
    return denseLocation().map(layer -> DenseLayer.read(path, layer, config.hiddenSize()));
  }

  private Optional<DenseLayer.Location> denseLocation() {
    return llaraJson.flatMap(LlaraJson::dense);
  }

  /**
   * Returns how the checkpoint wants its prompts, if it says so: its {@code llara.json}, else what
   * the files of the sentence-transformers library say.
   */
  public Optional<LlaraJson> llaraJson() {
    return llaraJson;
  }
}
