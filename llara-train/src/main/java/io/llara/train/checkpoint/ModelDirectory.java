package io.llara.train.checkpoint;

import com.google.gson.JsonObject;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.PythonFiles;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.WeightFiles;
import io.llara.io.AtomicFiles;
import io.llara.io.TemporaryPath;
import io.llara.model.StoredTensors;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import java.io.IOException;
import java.nio.channels.WritableByteChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Writes trained weights as a directory in the layout of the Hugging Face hub: like the checkpoint
 * they came from, with its configuration and tokenizer, and other values in its tensors.
 *
 * <p>The weights lie in one {@code model.safetensors}, named as {@code LlamaForCausalLM} saves
 * them. The configuration keeps every key of the source's; only the type of the weights, and the
 * name of the architecture where it was that of the bare model, follow what is written.
 */
@Internal
public final class ModelDirectory {
  private static final String ASIDE = "model";

  private ModelDirectory() {}

  /** Gives weights one after another, so that they need not all be in memory at once. */
  @FunctionalInterface
  public interface Weights {
    /**
     * Returns a weight, of any floating type, in the shape that the source has it in. Called once
     * for each tensor of the source, by the thread that writes, in an open scope that frees what is
     * made here.
     *
     * @param name the canonical name, see {@link LlamaTensors}
     */
    Tensor weight(String name);
  }

  /**
   * Writes a model into a directory, which may hold other files, such as the records of a training
   * run, and an older model. The files are written aside, forced to disk and renamed one by one,
   * {@code config.json} last: until it is there, the directory is no model. What an interrupted
   * call left is removed first.
   *
   * @param source the checkpoint that the weights were made from
   * @param weights all weights that the source has; they stay the caller's
   * @param type F32, F16 or BF16, in which they are stored
   * @param settings the content of {@code llara.json}; empty for that of the source, if any
   * @throws LlaraException if the source cannot be read, the directory cannot be written, or a
   *     weight is not finite in the storage type; names what it is about, and an older model is
   *     still whole then
   * @throws IllegalArgumentException if a shape is not that of the source
   */
  public static void write(
      Path source, Path out, Weights weights, StorageType type, Optional<LlaraJson> settings) {
    CheckpointDirectory checkpoint = CheckpointDirectory.open(source);
    try {
      Files.createDirectories(out);
      try (DirectoryStream<Path> debris = Files.newDirectoryStream(out, "." + ASIDE + ".*.tmp")) {
        for (Path dir : debris) {
          TemporaryPath.delete(dir);
        }
      }
      try (TemporaryPath aside = TemporaryPath.beside(out.resolve(ASIDE))) {
        Files.createDirectory(aside.path());
        fill(checkpoint, aside.path(), weights, type, settings);
        PythonFiles.remove(out);
        moveAll(aside.path(), out);
        AtomicFiles.forceFolder(out);
      }
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be written: %s".formatted(out, e), e);
    }
  }

  private static void fill(
      CheckpointDirectory source,
      Path dir,
      Weights weights,
      StorageType type,
      Optional<LlaraJson> settings) {
    Libtorch.load();
    if (!type.isWeightType()) {
      throw new IllegalArgumentException(type + " is not a type of weights");
    }
    JsonObject config = ModelFiles.json(source.path().resolve(CheckpointDirectory.CONFIG));
    ModelFiles.nameType(config, type);
    if (source.config().tieWordEmbeddings() || source.tensors().containsKey(LlamaTensors.HEAD)) {
      ModelFiles.nameModelWithHead(config, source.config());
    }
    AtomicFiles.writeJson(dir.resolve(CheckpointDirectory.CONFIG), config);
    ModelFiles.copyTokenizer(source.path(), dir);
    ModelFiles.copy(source.path(), dir, List.of(ModelFiles.GENERATION));
    settings
        .or(source::llaraJson)
        .ifPresent(recipe -> ModelFiles.writeRecipe(source.path(), dir, recipe));
    SafetensorsWriter writer = new SafetensorsWriter();
    LlamaTensors.all(source.config())
        .forEach(
            (name, shape) -> {
              if (source.tensors().containsKey(name)) {
                writer.add(
                    LlamaTensors.storedName(name),
                    type,
                    shape,
                    out -> writeWeight(name, shape, weights, type, out));
              }
            });
    writer.write(dir.resolve(WeightFiles.SINGLE_FILE));
    CheckpointDirectory.open(dir);
  }

  private static void writeWeight(
      String name, long[] shape, Weights weights, StorageType type, WritableByteChannel out)
      throws IOException {
    try (TensorScope scope = new TensorScope()) {
      Tensor weight = weights.weight(name);
      if (!Arrays.equals(weight.shape(), shape)) {
        throw new IllegalArgumentException(
            "the weight %s has shape %s; the model it is for has %s"
                .formatted(name, Arrays.toString(weight.shape()), Arrays.toString(shape)));
      }
      if (!isFinite(weight.detach(), StoredTensors.scalarType(type))) {
        throw new LlaraException(
            "the weight %s has values that are not finite in %s; nothing was written"
                .formatted(name, type));
      }
      StoredTensors.content(weight, type).writeTo(out);
    }
  }

  /** The least and the largest value tell it, without a second tensor: a NaN is both. */
  private static boolean isFinite(Tensor weight, ScalarType stored) {
    return weight.numel() == 0
        || Double.isFinite(weight.min().to(stored).item_double())
            && Double.isFinite(weight.max().to(stored).item_double());
  }

  private static void moveAll(Path from, Path to) throws IOException {
    List<Path> files = new ArrayList<>();
    try (DirectoryStream<Path> all = Files.newDirectoryStream(from)) {
      all.forEach(files::add);
    }
    Path config = from.resolve(CheckpointDirectory.CONFIG);
    if (files.remove(config)) {
      files.add(config);
    }
    for (Path file : files) {
      Path target = to.resolve(file.getFileName());
      if (Files.isDirectory(file)) {
        Files.createDirectories(target);
        moveAll(file, target);
      } else {
        Files.move(
            file, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      }
    }
  }
}
