package io.llara.train.checkpoint;

import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LoraAdapter;
import io.llara.io.AtomicFiles;
import io.llara.model.CheckpointWeights;
import io.llara.model.WeightSource;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import java.nio.file.Path;
import java.util.Optional;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Makes one model of a model and a PEFT LoRA adapter on top of it. */
public final class AdapterMerge {
  private AdapterMerge() {}

  /**
   * Writes a copy of a model with an adapter merged into its weights: {@code W + scale · B A},
   * computed in float32 and stored in the type that the embedding matrix has in the model. It
   * appears under its name complete and on disk, or not at all.
   *
   * @param model a Hugging Face model directory
   * @param adapter the directory of an adapter
   * @param out a directory that does not exist or is empty
   * @throws LlaraException if one of the two cannot be read, they do not fit each other, or the
   *     directory is not new or empty or cannot be written
   */
  public static void write(Path model, Path adapter, Path out) {
    AtomicFiles.requireFree(out);
    Libtorch.load();
    CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
    LoraAdapter updates = LoraAdapter.open(adapter, checkpoint.config());
    try (CheckpointWeights weights = new CheckpointWeights(checkpoint, updates, true)) {
      AtomicFiles.writeDirectory(
          out,
          dir ->
              ModelDirectory.write(
                  model,
                  dir,
                  name ->
                      TensorScope.adopt(
                          weights.load(name, ScalarType.Float, WeightSource.Use.PASSING)),
                  checkpoint.weightType(),
                  Optional.empty()));
    }
  }
}
