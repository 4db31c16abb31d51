package io.llara.examples.golden;

import com.google.common.primitives.Floats;
import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.kernels.Accelerators;
import io.llara.train.model.TrainedModel;
import io.llara.train.run.TrainingSteps;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.function.BiConsumer;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * What comes out of a training step, against the expected values of a case.
 *
 * @param training what ran the step
 * @param file holds the tensors of the case
 * @param json the case
 * @param comparison takes the results
 */
record TrainingComparison(
    TrainingSteps training, GoldenFile file, GoldenJson json, Comparison comparison) {

  /** Loads a checkpoint to train all of its weights in float32. */
  static TrainedModel model(Path checkpoint, int positions, boolean head, ReplayEngines engines) {
    return TrainedModel.full(
        CheckpointDirectory.open(checkpoint), settings(positions, head, engines));
  }

  /** Returns settings in float32, on the device that is verified. */
  static TrainedModel.Settings settings(int positions, boolean head, ReplayEngines engines) {
    return new TrainedModel.Settings(
        ScalarType.Float,
        positions,
        head,
        Accelerators.openAll(engines.device()).stream().findFirst());
  }

  /** Compares a scalar with the value of a key. */
  void scalar(String prefix, String key, double actual, GoldenJson expected, Tolerance tolerance) {
    double[] value = {expected.number(key)};
    comparison.exact(prefix + key, new double[] {actual}, value, tolerance);
  }

  /** Compares a matrix with the rows of a key. */
  void matrix(String key, float[] actual, GoldenJson expected, Tolerance tolerance) {
    double[] rows = expected.matrix(key);
    if (rows.length != actual.length) {
      throw new LlaraException(
          "%s: %s has %d elements; expected %d"
              .formatted(expected.where(), key, rows.length, actual.length));
    }
    comparison.rounded(key, actual, rows, tolerance);
  }

  /**
   * Compares norm, largest magnitude and some elements of parameters or their gradients.
   *
   * @param key where the case has them, by parameter
   * @param values ours, by canonical name
   */
  void summaries(String key, Map<String, float[]> values, Tolerance norm, Tolerance element) {
    GoldenJson parameters = json.object(key + "_f64");
    for (String name : parameters.keys()) {
      GoldenJson expected = parameters.object(name);
      float[] ours = ours(values, name);
      String quantity = key + "/" + name;
      double squares = 0;
      double largest = 0;
      for (float value : ours) {
        squares += (double) value * value;
        // Math.max hands on a NaN.
        largest = Math.max(largest, Math.abs(value));
      }
      scalar(quantity + " ", "norm", Math.sqrt(squares), expected, norm);
      scalar(quantity + " ", "abs_max", largest, expected, element);
      comparison.exact(
          quantity + " sample", sample(ours, expected), expected.numbers("sample"), element);
    }
  }

  private static double[] sample(float[] values, GoldenJson expected) {
    int[] places = expected.ints("sample_index");
    int wanted = expected.numbers("sample").length;
    if (places.length != wanted
        || Arrays.stream(places).anyMatch(place -> place < 0 || place >= values.length)) {
      throw new LlaraException(
          "%s: sample_index must name %d of %d elements"
              .formatted(expected.where(), wanted, values.length));
    }
    return Arrays.stream(places).mapToDouble(place -> values[place]).toArray();
  }

  /**
   * Compares whole parameters or gradients with the case's tensors.
   *
   * @param kind what the tensors' keys begin with, before a slash and the parameter
   * @param values ours, by canonical name
   */
  void tensors(String kind, Map<String, float[]> values, Tolerance tolerance) {
    forEach(kind, (key, name) -> tensor(key, ours(values, name), tolerance, shape(name)));
  }

  /**
   * Compares some rows of matrices with the case's tensors; their indices stand beside them, as in
   * {@code embed_tokens_grad_rows} for {@code grad_rows/model.embed_tokens.weight}.
   *
   * @param kind what the tensors' keys begin with, before a slash and the parameter
   * @param values ours, by canonical name
   */
  void rows(String kind, Map<String, float[]> values, Tolerance tolerance) {
    forEach(
        kind,
        (key, name) -> {
          long[] shape = shape(name);
          int[] rows = json.ints(name.replaceAll("^(.*\\.)?([^.]+)\\.weight$", "$2_" + kind));
          if (Arrays.stream(rows).anyMatch(row -> row < 0 || row >= shape[0])) {
            throw new LlaraException(
                "%s: a row of %s is outside its %d".formatted(json.where(), name, shape[0]));
          }
          float[] ours = ours(values, name);
          int width = ours.length / (int) shape[0];
          float[][] chosen =
              Arrays.stream(rows)
                  .mapToObj(row -> Arrays.copyOfRange(ours, row * width, (row + 1) * width))
                  .toArray(float[][]::new);
          tensor(key, Floats.concat(chosen), tolerance, rows.length, width);
        });
  }

  private void forEach(String kind, BiConsumer<String, String> keyAndParameter) {
    String start = kind + "/";
    for (String key : json.object("tensors").keys()) {
      if (key.startsWith(start)) {
        keyAndParameter.accept(key, key.substring(start.length()));
      }
    }
  }

  /** Compares elements with the case's tensor of a key. */
  void tensor(String key, float[] ours, Tolerance tolerance, long... shape) {
    comparison.rounded(key, ours, file.tensor(json.object("tensors"), key, shape), tolerance);
  }

  private float[] ours(Map<String, float[]> values, String name) {
    return require(values.get(canonical(name)), name);
  }

  private long[] shape(String name) {
    return require(training.shapes().get(canonical(name)), name);
  }

  private <T> T require(@Nullable T found, String name) {
    if (found == null) {
      throw new LlaraException(
          "%s: there is no parameter '%s' in training".formatted(json.where(), name));
    }
    return found;
  }

  /**
   * Transformers puts {@code model.} before the names of all but the head, PEFT {@code
   * base_model.model.} before that.
   */
  private static String canonical(String name) {
    return name.replaceFirst("^(base_model\\.model\\.)?(model\\.)?", "");
  }
}
