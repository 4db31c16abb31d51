package io.llara.train.checkpoint;

import io.llara.ModelLoadException;
import io.llara.checkpoint.TensorEntry;
import io.llara.model.StoredTensors;
import io.llara.tensor.TensorScope;
import java.util.Random;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * First values for new rows of a matrix {@code [vocabulary, hidden]}: the mean of its rows plus
 * normal noise.
 *
 * <p>A row at the mean is as likely as the average token; rows drawn at random would stand out, and
 * pull a trained model off its course. The noise only tells the new rows apart: its standard
 * deviation is {@value #NOISE} times that of the old entries around the mean row.
 */
final class NewRows {
  static final double NOISE = 0.02;

  private static final int CHUNK_ROWS = 4096;

  private NewRows() {}

  /**
   * Returns new rows, {@code [count, hidden]}, row-major.
   *
   * @param rows how many rows of the matrix, from the first, belong to tokens
   */
  static float[] of(TensorEntry matrix, int rows, int count, long seed) {
    int hidden = Math.toIntExact(matrix.shape()[1]);
    double[] mean = new double[hidden];
    double deviation = statistics(matrix, rows, mean);
    // java.util.Random is specified: the same on every machine and release.
    Random random = new Random(seed);
    float[] values = new float[Math.multiplyExact(count, hidden)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (mean[i % hidden] + NOISE * deviation * random.nextGaussian());
    }
    return values;
  }

  /** Fills in the mean row and returns the standard deviation of the entries around it. */
  private static double statistics(TensorEntry matrix, int rows, double[] mean) {
    double squares = 0;
    try (StoredTensors stored = new StoredTensors();
        TensorScope scope = new TensorScope()) {
      Tensor all = TensorScope.adopt(stored.map(matrix));
      for (int begin = 0; begin < rows; begin += CHUNK_ROWS) {
        try (TensorScope chunk = new TensorScope()) {
          Tensor piece =
              all.narrow(0, begin, Math.min(CHUNK_ROWS, rows - begin)).to(ScalarType.Double);
          double[] sum = new double[mean.length];
          new DoublePointer(piece.sum(0).contiguous().data_ptr()).get(sum);
          for (int i = 0; i < sum.length; i++) {
            mean[i] += sum[i] / rows;
          }
          squares += piece.square().sum().item_double();
        }
      }
    }
    double ofMean = 0;
    for (double value : mean) {
      ofMean += value * value;
    }
    double variance = squares / ((double) rows * mean.length) - ofMean / mean.length;
    if (!Double.isFinite(variance)) {
      throw new ModelLoadException(
          "%s: tensor '%s' has values that are not finite".formatted(matrix.file(), matrix.name()));
    }
    return Math.sqrt(Math.max(0, variance));
  }
}
