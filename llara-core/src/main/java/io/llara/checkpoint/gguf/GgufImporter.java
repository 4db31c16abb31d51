package io.llara.checkpoint.gguf;

import com.google.gson.JsonObject;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.Quantization;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.WeightFiles;
import io.llara.io.AtomicFiles;
import io.llara.tokenize.Tokenizer;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Turns a GGUF file of architecture {@code llama} into a directory in the layout of the Hugging
 * Face hub, which {@link CheckpointDirectory} and other libraries read: configuration, weights,
 * tokenizer.
 *
 * <p>Tensors of the types F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q6_K are read. The
 * tokenizer is rebuilt from the metadata: vocabularies of kind {@code llama} (SentencePiece with
 * scores) and {@code gpt2} (byte-level, with the pre-tokenizer that the file names). What cannot be
 * carried over is refused by name. The file is untrusted: what is read of it is checked first. See
 * {@code docs/gguf-import.md}.
 *
 * <pre>{@code
 * GgufImporter.builder(Path.of("model.gguf")).build().write(Path.of("model-dir"));
 * }</pre>
 *
 * <p>Immutable and thread-safe; the file must not change between opening and writing.
 */
public final class GgufImporter {
  private final GgufHeader header;
  private final GgufVocabulary vocabulary;
  private final GgufWeights weights;
  private final LlamaConfig config;
  private final int layersInFile;
  private final Optional<StorageType> type;
  private final Optional<Quantization> quantization;

  private GgufImporter(Path file, OptionalInt layers, Optional<StorageType> type) {
    this.header = GgufHeader.read(file);
    GgufConfig.checkArchitecture(header.metadata());
    this.vocabulary = new GgufVocabulary(header.metadata());
    GgufConfig reader = new GgufConfig(header, vocabulary);
    LlamaConfig whole = reader.read(reader.blockCount(), StorageType.F32);
    this.weights = new GgufWeights(header, whole);
    this.layersInFile = whole.layers();
    this.type = type;
    this.quantization = type.isPresent() ? Optional.empty() : weights.quantization();
    if (layers.isPresent() && layers.getAsInt() > layersInFile) {
      throw new IllegalArgumentException(
          "layers is %d; %s has %d".formatted(layers.getAsInt(), file, layersInFile));
    }
    this.config = reader.read(layers.orElse(layersInFile), type.orElseGet(weights::commonType));
  }

  /** Returns a builder that reads the file when it builds. */
  public static Builder builder(Path file) {
    return new Builder(file);
  }

  /** Collects the settings of an import. Not thread-safe. */
  public static final class Builder {
    private final Path file;
    private OptionalInt layers = OptionalInt.empty();
    private Optional<StorageType> type = Optional.empty();

    private Builder(Path file) {
      this.file = Objects.requireNonNull(file, "file");
    }

    /**
     * Takes the first layers only; all by default. The final norm and the output projection come
     * after them as they are.
     *
     * @throws IllegalArgumentException if the number is below 1
     */
    public Builder layers(int count) {
      if (count < 1) {
        throw new IllegalArgumentException("layers is " + count + "; expected 1 or more");
      }
      layers = OptionalInt.of(count);
      return this;
    }

    /**
     * Writes all weights in one type. By default nothing is lost: F16 and BF16 stay as they are,
     * and so do matrices of Q8_0 and Q4_0, integers with a scale for each 32 of them ({@link
     * Quantization}); F32 and what was quantised in another way is written as F32.
     *
     * @throws IllegalArgumentException if the type is not F32, F16 or BF16
     */
    public Builder weightType(StorageType weightType) {
      if (!weightType.isWeightType()) {
        throw new IllegalArgumentException(
            "weights are stored as F32, F16 or BF16, not as " + weightType);
      }
      type = Optional.of(weightType);
      return this;
    }

    /**
     * Reads the header of the file and checks that it can be imported.
     *
     * @throws ModelLoadException if the file cannot be read or is damaged; names what is wrong
     * @throws io.llara.UnsupportedModelException if it holds something that is not supported
     * @throws IllegalArgumentException if the file has fewer layers than were asked for
     */
    public GgufImporter build() {
      return new GgufImporter(file, layers, type);
    }
  }

  /** Receives the progress of an import, on the thread that runs it. */
  @FunctionalInterface
  public interface Progress {
    /** Receives the number of tensors written so far and in total. */
    void progress(int done, int total);
  }

  /** Returns the configuration that is written. */
  public LlamaConfig config() {
    return config;
  }

  /** Returns whether a path is that of a GGUF file, by its name. */
  @Internal
  public static boolean isGguf(Path path) {
    return path.toString().toLowerCase(Locale.ROOT).endsWith(".gguf") && !Files.isDirectory(path);
  }

  /** Returns the weights, those of all layers. */
  @Internal
  public GgufWeights weights() {
    return weights;
  }

  /** Returns how the matrices are quantised that are written as integers, if some are. */
  public Optional<Quantization> quantization() {
    return quantization;
  }

  /** Returns the number of layers in the file, of which {@link #config} may have fewer. */
  public int layersInFile() {
    return layersInFile;
  }

  /** Returns the kind of the file's vocabulary, such as {@code gpt2}. */
  public String vocabularyKind() {
    return vocabulary.kind().name().toLowerCase(Locale.ROOT);
  }

  /** Returns what a user should know about the import, one sentence each; usually empty. */
  public List<String> notes() {
    return List.copyOf(vocabulary.notes());
  }

  /**
   * Writes the directory. See {@link #write(Path, Progress)}.
   *
   * @throws LlaraException if the directory is not new or empty, or cannot be written
   */
  public void write(Path dir) {
    write(dir, (done, total) -> {});
  }

  /**
   * Writes the directory: {@code config.json}, {@code model.safetensors}, {@code tokenizer.json},
   * {@code tokenizer_config.json}, {@code special_tokens_map.json}. It appears under its name
   * complete, or not at all. Tensors are read and written one after another: the model is never in
   * memory.
   *
   * @param dir a directory that does not exist or is empty
   * @throws ModelLoadException if the file can no longer be read or has weights that are not finite
   * @throws LlaraException if the directory is not new or empty, or cannot be written
   */
  public void write(Path dir, Progress progress) {
    AtomicFiles.writeDirectory(dir, aside -> fill(aside, progress));
  }

  private void fill(Path dir, Progress progress) {
    writeTokenizer(dir);
    checkTokenizer(dir);
    JsonObject json = GgufConfig.toJson(config, vocabulary.special(GgufVocabulary.PADDING));
    quantization.ifPresent(scheme -> json.add(Quantization.KEY, scheme.toJson(floatingModules())));
    AtomicFiles.writeJson(dir.resolve(CheckpointDirectory.CONFIG), json);
    Map<String, long[]> shapes = LlamaTensors.all(config);
    int[] done = {0};
    Runnable written = () -> progress.progress(++done[0], shapes.size());
    SafetensorsWriter writer = new SafetensorsWriter();
    shapes.forEach((name, shape) -> add(name, shape, writer, written));
    writer.write(dir.resolve(WeightFiles.SINGLE_FILE));
    CheckpointDirectory.open(dir);
  }

  /**
   * Writes the files of the tokenizer into an existing directory.
   *
   * @throws LlaraException if they cannot be written
   */
  @Internal
  public void writeTokenizer(Path dir) {
    new GgufTokenizerFiles(vocabulary).write(dir, config.maxPositionEmbeddings());
  }

  /** Returns the modules whose matrices are not integers, by the names that Python gives them. */
  private List<String> floatingModules() {
    List<String> names = new ArrayList<>();
    LlamaTensors.all(config)
        .forEach(
            (name, shape) -> {
              if (shape.length == 2 && weights.bits(name) == 0) {
                names.add(name);
              }
            });
    if (config.tieWordEmbeddings() && names.contains(LlamaTensors.EMBEDDING)) {
      names.add(LlamaTensors.HEAD);
    }
    return names.stream()
        .map(name -> LlamaTensors.storedName(name).replaceFirst("\\.weight$", ""))
        .toList();
  }

  private void add(String name, long[] shape, SafetensorsWriter writer, Runnable written) {
    String stored = LlamaTensors.storedName(name);
    if (quantization.isEmpty() || weights.bits(name) == 0) {
      StorageType floating = type.orElseGet(() -> weights.storedType(name));
      writer.add(stored, floating, shape, then(weights.floats(name, floating), written));
      return;
    }
    Quantization scheme = quantization.get();
    writer.add(
        scheme.integersName(stored),
        scheme.integersType(name),
        scheme.integersShape(name, shape),
        then(weights.integers(name, scheme.bits(name)), written));
    writer.add(
        Quantization.scalesName(stored),
        StorageType.F16,
        scheme.scalesShape(shape),
        weights.scales(name));
    scheme.addShape(writer, stored, shape);
  }

  private static SafetensorsWriter.Content then(
      SafetensorsWriter.Content content, Runnable written) {
    return out -> {
      content.writeTo(out);
      written.run();
    };
  }

  /** Whether the tokenizer loads is better known now than when the model is used. */
  private void checkTokenizer(Path dir) {
    try {
      Tokenizer.load(dir).close();
    } catch (ModelLoadException e) {
      throw new ModelLoadException(
          "%s: the tokenizer made from its metadata does not load: %s"
              .formatted(
                  header.file(), String.valueOf(e.getMessage()).replace(dir + File.separator, "")),
          e);
    }
  }
}
