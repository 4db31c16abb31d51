package io.llara.train.checkpoint;

import io.llara.BlankTexts;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.DenseLayer;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.WeightFiles;
import io.llara.io.AtomicFiles;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Rotates the vectors of a model onto the principal axes of sample vectors, by a linear layer
 * behind its pooling: the first components of a vector then say most of it, and can stand for it. A
 * rotation changes no inner product and no cosine of whole vectors.
 *
 * <p>The axes are the eigenvectors of the sample's second moments, about zero and not about its
 * mean: similarities are inner products, to which the mean belongs.
 */
public final class ModelRotator {
  private ModelRotator() {}

  /**
   * Writes a model with such a layer.
   *
   * @param model the model's directory; it has no linear layer yet
   * @param out the new directory
   * @param texts passages of the kind that will be searched, at least as many as a vector has
   *     components; a few thousand are plenty. Blank ones are left out
   * @throws LlaraException if the model cannot be read, the directory is there or cannot be
   *     written, or there are too few texts
   * @throws UnsupportedModelException if the model has a linear layer or says no prompts
   */
  public static void write(Path model, Path out, List<String> texts) {
    CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
    LlaraJson recipe = ModelFiles.requireRecipe(checkpoint);
    if (recipe.dense().isPresent()) {
      throw new UnsupportedModelException(
          model + ": the model has a linear layer behind its pooling already");
    }
    int hidden = checkpoint.config().hiddenSize();
    float[] rotation = rotation(model, hidden, texts);
    AtomicFiles.writeDirectory(
        out,
        dir -> {
          ModelFiles.copy(
              model,
              dir,
              List.of(CheckpointDirectory.CONFIG, WeightFiles.INDEX_FILE, ModelFiles.GENERATION));
          ModelFiles.copyTokenizer(model, dir);
          for (Path weights : checkpoint.weightFiles()) {
            ModelFiles.copy(weights, dir.resolve(weights.getFileName()));
          }
          new SafetensorsWriter()
              .add(DenseLayer.WEIGHT, StorageType.F32, new long[] {hidden, hidden}, rotation)
              .write(dir.resolve(DenseLayer.FILE_NAME));
          ModelFiles.writeRecipe(
              dir,
              recipe.withDense(
                  Optional.of(
                      new DenseLayer.Location(
                          DenseLayer.FILE_NAME, DenseLayer.Activation.LINEAR))));
        });
  }

  /** Returns the axes as rows, that of the most first. */
  private static float[] rotation(Path model, int hidden, List<String> texts) {
    Libtorch.load();
    try (TensorScope scope = new TensorScope();
        Encoder encoder =
            Encoder.builder(model)
                .computeType(ComputeType.AUTO)
                .normalize(true)
                .dimension(hidden)
                .build()) {
      double[] moments = new double[hidden * hidden];
      int[] count = {0};
      encoder
          .forPassages()
          .encodeAll(
              texts.stream(),
              encoder.modes().passage(),
              BlankTexts.SKIP,
              (index, text, vector) -> {
                count[0]++;
                add(vector, moments);
              });
      if (count[0] < hidden) {
        throw new LlaraException(
            "there are %d texts that are not blank; expected at least %d, as many as a vector has components"
                .formatted(count[0], hidden));
      }
      float[] matrix = new float[moments.length];
      for (int i = 0; i < matrix.length; i++) {
        matrix[i] = (float) moments[i];
      }
      // In ascending order of the eigenvalues, the vectors in columns.
      Tensor axes =
          torch.linalg_eigh(Tensors.ofFloats(matrix, hidden, hidden).to(ScalarType.Double)).get1();
      return Tensors.toFloats(axes.t().flip(0));
    }
  }

  private static void add(float[] vector, double[] moments) {
    for (int row = 0; row < vector.length; row++) {
      double factor = vector[row];
      int begin = row * vector.length;
      for (int column = 0; column < vector.length; column++) {
        moments[begin + column] += factor * vector[column];
      }
    }
  }
}
