package io.llara.train.checkpoint;

import com.google.gson.JsonArray;
import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.WeightFiles;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.StrictJson;
import io.llara.model.CheckpointWeights;
import io.llara.model.StoredTensors;
import io.llara.model.WeightSource;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Makes a smaller model of a model: some of its layers, in order, and the first tokens of its
 * byte-pair vocabulary, which then spells rarer words with more of them. Special tokens stay; those
 * beyond the new end get its last ids.
 */
public final class ModelShrinker {
  private ModelShrinker() {}

  /**
   * Writes the smaller model. It appears under its name complete and on disk, or not at all.
   *
   * @param model a Hugging Face model directory; if it is quantised, the smaller one is not
   * @param out a directory that does not exist or is empty
   * @param layers the indices of the layers to keep, ascending; empty for all
   * @param vocabulary the number of tokens, fewer than there are; empty to keep all
   * @throws LlaraException if the model cannot be read, a special token has no place in the
   *     vocabulary, or the directory is not new or empty or cannot be written
   * @throws IllegalArgumentException if a layer does not exist or comes twice, or the vocabulary is
   *     not smaller
   */
  public static void write(Path model, Path out, List<Integer> layers, OptionalInt vocabulary) {
    AtomicFiles.requireFree(out);
    Libtorch.load();
    CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
    requireLayers(layers, checkpoint.config().layers());
    AtomicFiles.writeDirectory(out, dir -> fill(checkpoint, dir, layers, vocabulary));
  }

  private static void requireLayers(List<Integer> layers, int count) {
    for (int i = 0; i < layers.size(); i++) {
      int layer = layers.get(i);
      if (layer < 0 || layer >= count || i > 0 && layer <= layers.get(i - 1)) {
        throw new IllegalArgumentException(
            "layers are %s; expected ascending numbers from 0 to %d".formatted(layers, count - 1));
      }
    }
  }

  private static void fill(
      CheckpointDirectory checkpoint, Path dir, List<Integer> layers, OptionalInt vocabulary) {
    Path source = checkpoint.path();
    int[] tokens = copyTokenizer(checkpoint, dir, vocabulary);
    JsonSection section = StrictJson.modelFile(source.resolve(CheckpointDirectory.CONFIG));
    if (tokens.length > 0) {
      ModelInitializer.requireIdsBelow(tokens.length, section);
      section.json().addProperty("vocab_size", tokens.length);
    }
    if (!layers.isEmpty()) {
      section.json().addProperty("num_hidden_layers", layers.size());
      if (section.json().get("layer_types") instanceof JsonArray types) {
        JsonArray kept = new JsonArray();
        layers.forEach(layer -> kept.add(types.get(layer)));
        section.json().add("layer_types", kept);
      }
    }
    ModelFiles.nameType(section.json(), checkpoint.weightType());
    AtomicFiles.writeJson(dir.resolve(CheckpointDirectory.CONFIG), section.json());
    ModelFiles.copy(source, dir, List.of(ModelFiles.GENERATION));
    checkpoint.llaraJson().ifPresent(recipe -> ModelFiles.writeRecipe(source, dir, recipe));
    writeWeights(checkpoint, dir, layers, tokens);
    CheckpointDirectory.open(dir);
  }

  /** Returns the old ids of the new tokens; none if the vocabulary stays. */
  private static int[] copyTokenizer(
      CheckpointDirectory checkpoint, Path dir, OptionalInt vocabulary) {
    if (vocabulary.isEmpty()) {
      ModelFiles.copyTokenizer(checkpoint.path(), dir);
      return new int[0];
    }
    try (Tokenizer tokenizer = Tokenizer.load(checkpoint.path())) {
      int size = vocabulary.getAsInt();
      if (size < 1 || size >= tokenizer.vocabularySize()) {
        throw new IllegalArgumentException(
            "the vocabulary is to have %d tokens; expected fewer than the %d it has"
                .formatted(size, tokenizer.vocabularySize()));
      }
      return VocabularyCut.write(checkpoint.path(), tokenizer, size, true, dir);
    }
  }

  private static void writeWeights(
      CheckpointDirectory checkpoint, Path dir, List<Integer> layers, int[] tokens) {
    LlamaConfig smaller = LlamaConfig.read(dir.resolve(CheckpointDirectory.CONFIG));
    StorageType type = checkpoint.weightType();
    SafetensorsWriter writer = new SafetensorsWriter();
    try (CheckpointWeights weights = new CheckpointWeights(checkpoint, null, true)) {
      for (Map.Entry<String, long[]> tensor : LlamaTensors.all(smaller).entrySet()) {
        String name = tensor.getKey();
        String old = oldName(name, layers);
        if (!weights.has(old)) {
          continue; // A bare model has no output projection.
        }
        boolean rows =
            tokens.length > 0
                && (name.equals(LlamaTensors.EMBEDDING) || name.equals(LlamaTensors.HEAD));
        writer.add(
            LlamaTensors.storedName(name),
            type,
            tensor.getValue(),
            out -> {
              try (TensorScope scope = new TensorScope()) {
                Tensor weight =
                    TensorScope.adopt(
                        weights.load(old, ScalarType.Float, WeightSource.Use.PASSING));
                Tensor kept = rows ? weight.index_select(0, Tensors.ofInts(tokens)) : weight;
                StoredTensors.content(kept, type).writeTo(out);
              }
            });
      }
      writer.write(dir.resolve(WeightFiles.SINGLE_FILE));
    }
  }

  private static String oldName(String name, List<Integer> layers) {
    if (layers.isEmpty() || !name.startsWith("layers.")) {
      return name;
    }
    String[] parts = name.split("\\.", 3);
    return "layers.%d.%s".formatted(layers.get(Integer.parseInt(parts[1])), parts[2]);
  }
}
