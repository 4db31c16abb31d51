package io.llara.train.checkpoint;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.TensorEntry;
import io.llara.checkpoint.WeightFiles;
import io.llara.io.AtomicFiles;
import io.llara.model.StoredTensors;
import io.llara.prompt.PromptTemplate;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;

/**
 * Makes a model ready for the released recipe ({@link PromptTemplate#LLAMA2VEC}): adds its sixteen
 * markers to the vocabulary.
 *
 * <p>The markers become special tokens of the tokenizer, with the ids that follow its last. Their
 * rows in the embedding matrix, and in the output projection where that is a matrix of its own,
 * start at the mean of the rows of all tokens plus small noise (its standard deviation is 0.02
 * times that of the matrix), in the type the matrix is stored in. Everything else is copied byte
 * for byte. The new directory has a {@code llara.json} that names the recipe.
 *
 * <pre>{@code
 * VocabularyGrowth.addMarkers(Path.of("llama"), Path.of("llama-with-markers"), 42);
 * }</pre>
 */
public final class VocabularyGrowth {
  private final CheckpointDirectory checkpoint;
  private final MarkerTokens markers;
  private final int vocabulary;
  private final Map<String, float[]> newRows = new HashMap<>();

  private VocabularyGrowth(CheckpointDirectory checkpoint, MarkerTokens markers, long seed) {
    this.checkpoint = checkpoint;
    this.markers = markers;
    LlamaConfig config = checkpoint.config();
    int tokens = markers.oldSize();
    int added = markers.added().size();
    if (tokens > config.vocabularySize()) {
      throw new ModelLoadException(
          "%s: key 'vocab_size' is %d; %s has ids up to %d"
              .formatted(
                  checkpoint.path().resolve(CheckpointDirectory.CONFIG),
                  config.vocabularySize(),
                  ModelFiles.TOKENIZER,
                  tokens - 1));
    }
    // Rows beyond the tokenizer's ids are padding: some of them, or all, now get a token.
    this.vocabulary = Math.max(config.vocabularySize(), tokens + added);
    float[] rows = NewRows.of(checkpoint.tensor(LlamaTensors.EMBEDDING), tokens, added, seed);
    newRows.put(LlamaTensors.EMBEDDING, rows);
    // With tied embeddings, files may hold a copy of the matrix under the head's name.
    newRows.put(
        LlamaTensors.HEAD,
        checkpoint.tensors().containsKey(LlamaTensors.HEAD)
            ? NewRows.of(checkpoint.tensor(LlamaTensors.HEAD), tokens, added, ~seed)
            : rows);
  }

  /**
   * Writes a copy of a model with the markers {@code <s1>} to {@code <s16>} added. Those that the
   * tokenizer has already are kept with their ids and rows. It appears under its name complete and
   * on disk, or not at all. A shard without one of the two matrices is copied as it is.
   *
   * <p>Where the matrix has more rows than the tokenizer has ids, which some models have for
   * speed's sake, these rows are used first.
   *
   * @param model a Hugging Face model directory
   * @param out a directory that does not exist or is empty
   * @param seed of the noise: the same model and seed give the same files
   * @return the names of the markers that were new, in the order of their ids
   * @throws ModelLoadException if the model cannot be read or its files do not fit each other
   * @throws LlaraException if the tokenizer has all markers already or gaps in its ids, or the
   *     directory is not new or empty or cannot be written
   */
  public static List<String> addMarkers(Path model, Path out, long seed) {
    AtomicFiles.requireFree(out);
    Libtorch.load();
    CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
    checkpoint.requireNotQuantized("tokens are added");
    VocabularyGrowth growth = new VocabularyGrowth(checkpoint, MarkerTokens.missingIn(model), seed);
    AtomicFiles.writeDirectory(out, growth::fill);
    return growth.markers.added();
  }

  private void fill(Path dir) {
    markers.write(dir);
    ModelFiles.copy(checkpoint.path(), dir, List.of(ModelFiles.GENERATION));
    JsonObject config = ModelFiles.json(checkpoint.path().resolve(CheckpointDirectory.CONFIG));
    config.addProperty("vocab_size", vocabulary);
    AtomicFiles.writeJson(dir.resolve(CheckpointDirectory.CONFIG), config);
    LlaraJson recipe =
        new LlaraJson(PromptTemplate.LLAMA2VEC, true, OptionalInt.empty(), OptionalInt.empty());
    ModelFiles.writeRecipe(dir, recipe);
    writeWeights(dir);
    CheckpointDirectory.open(dir);
    Tokenizer.load(dir).close();
  }

  private void writeWeights(Path dir) {
    Path from = checkpoint.path();
    if (Files.exists(from.resolve(WeightFiles.SINGLE_FILE))) {
      writeFile(from.resolve(WeightFiles.SINGLE_FILE), dir.resolve(WeightFiles.SINGLE_FILE));
      return;
    }
    JsonObject index = ModelFiles.json(from.resolve(WeightFiles.INDEX_FILE));
    Set<String> shards = new LinkedHashSet<>();
    for (JsonElement shard : index.getAsJsonObject("weight_map").asMap().values()) {
      shards.add(shard.getAsString());
    }
    List<TensorEntry> grown = new ArrayList<>();
    for (String shard : shards) {
      grown.addAll(writeFile(from.resolve(shard), dir.resolve(shard)));
    }
    addToTotals(index, grown);
    AtomicFiles.writeJson(dir.resolve(WeightFiles.INDEX_FILE), index);
  }

  /** Writes a file of weights and returns those of its tensors, as they were, that have grown. */
  private List<TensorEntry> writeFile(Path from, Path to) {
    SafetensorsFile file = SafetensorsFile.open(from);
    List<TensorEntry> grown =
        file.entries().values().stream()
            .filter(entry -> newRows.containsKey(LlamaTensors.canonicalName(entry.name())))
            .toList();
    if (grown.isEmpty()) {
      ModelFiles.copy(from, to);
      return grown;
    }
    SafetensorsWriter writer = new SafetensorsWriter();
    file.metadata().forEach(writer::metadata);
    for (TensorEntry entry : file.entries().values()) {
      long[] shape = entry.shape();
      SafetensorsWriter.Content content =
          out -> ModelFiles.copy(from, entry.offset(), entry.length(), out);
      if (grown.contains(entry)) {
        shape[0] = vocabulary;
        content = out -> writeGrown(entry, out);
      }
      writer.add(entry.name(), entry.type(), shape, content);
    }
    writer.write(to);
    return grown;
  }

  private void writeGrown(TensorEntry entry, WritableByteChannel out) throws IOException {
    float[] rows = newRows.getOrDefault(LlamaTensors.canonicalName(entry.name()), new float[0]);
    long hidden = entry.shape()[1];
    long before = markers.oldSize() * hidden * entry.type().bytes();
    ModelFiles.copy(entry.file(), entry.offset(), before, out);
    try (TensorScope scope = new TensorScope()) {
      StoredTensors.content(Tensors.ofFloats(rows, markers.added().size(), hidden), entry.type())
          .writeTo(out);
    }
    long resumed = before + (long) rows.length * entry.type().bytes();
    if (resumed < entry.length()) {
      ModelFiles.copy(entry.file(), entry.offset() + resumed, entry.length() - resumed, out);
    }
  }

  /** Keeps the sums of an index right; other programs plan their memory by them. */
  private void addToTotals(JsonObject index, List<TensorEntry> grown) {
    if (!(index.get("metadata") instanceof JsonObject metadata)) {
      return;
    }
    long bytes = 0;
    long elements = 0;
    for (TensorEntry entry : grown) {
      long more = vocabulary * entry.shape()[1] - entry.elements();
      elements += more;
      bytes += more * entry.type().bytes();
    }
    add(metadata, "total_size", bytes);
    add(metadata, "total_parameters", elements);
  }

  private static void add(JsonObject metadata, String key, long more) {
    if (metadata.get(key) instanceof JsonPrimitive total && total.isNumber()) {
      metadata.addProperty(key, total.getAsLong() + more);
    }
  }
}
