package io.llara.train.checkpoint;

import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.LoraAdapter;
import io.llara.checkpoint.StorageType;
import io.llara.io.AtomicFiles;
import io.llara.model.CheckpointWeights;
import io.llara.model.WeightSource;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import java.nio.file.Path;
import java.util.Optional;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Copies a model with other weights of the same shapes: in another floating type, or with a PEFT
 * LoRA adapter merged into them. A quantised model becomes one in a floating type.
 *
 * <p>Copies appear under their name complete and on disk, or not at all.
 */
public final class ModelConverter {
  private ModelConverter() {}

  /**
   * Writes a copy of a model in a floating type. That of a quantised model can be trained further.
   *
   * @param model a Hugging Face model directory
   * @param out a directory that does not exist or is empty
   * @param type F32, F16 or BF16
   * @param dense whether the linear layer behind the pooling is copied, which training does not
   *     support; without one that only rotates vectors, such as {@link ModelRotator} writes, the
   *     cosines of whole vectors are the same
   * @throws LlaraException if the model cannot be read, a weight is not finite in that type, or the
   *     directory is not new or empty or cannot be written
   */
  public static void convert(Path model, Path out, StorageType type, boolean dense) {
    AtomicFiles.requireFree(out);
    CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
    Optional<LlaraJson> recipe = checkpoint.llaraJson();
    write(
        checkpoint,
        null,
        out,
        type,
        dense ? recipe : recipe.map(whole -> whole.withDense(Optional.empty())));
  }

  /**
   * Writes a copy of a model with an adapter merged into its weights: {@code W + scale · B A},
   * computed in float32 and stored in the type that the embedding matrix has in the model.
   *
   * @param model a Hugging Face model directory
   * @param adapter the directory of an adapter
   * @param out a directory that does not exist or is empty
   * @throws LlaraException if one of the two cannot be read, they do not fit each other, or the
   *     directory is not new or empty or cannot be written
   */
  public static void merge(Path model, Path adapter, Path out) {
    AtomicFiles.requireFree(out);
    CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
    LoraAdapter updates = LoraAdapter.open(adapter, checkpoint.config());
    write(checkpoint, updates, out, checkpoint.weightType(), checkpoint.llaraJson());
  }

  private static void write(
      CheckpointDirectory checkpoint,
      @Nullable LoraAdapter adapter,
      Path out,
      StorageType type,
      Optional<LlaraJson> recipe) {
    Libtorch.load();
    try (CheckpointWeights weights = new CheckpointWeights(checkpoint, adapter, true)) {
      AtomicFiles.writeDirectory(
          out,
          dir ->
              ModelDirectory.write(
                  checkpoint.path(),
                  dir,
                  name ->
                      TensorScope.adopt(
                          weights.load(name, ScalarType.Float, WeightSource.Use.PASSING)),
                  type,
                  recipe));
    }
  }
}
