package io.llara.train.checkpoint;

import static java.util.Objects.requireNonNull;

import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.Quantization;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.WeightFiles;
import io.llara.io.AtomicFiles;
import io.llara.io.ByteChannels;
import io.llara.model.CheckpointWeights;
import io.llara.model.StoredTensors;
import io.llara.model.WeightSource;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Makes a smaller copy of a model: its matrices as integers of four or eight bits, with one scale
 * for each group of neighbours in a row (see {@link Quantization} for the files).
 *
 * <p>Of each group, the scale is chosen that leaves the least sum of squared errors: shrinking the
 * range cuts the largest weight a little and makes all others finer. With texts to calibrate with,
 * the columns of a matrix are rounded one after another, and those to come make up for the error in
 * the outputs, as the inputs that the texts cause say how they can (GPTQ, arXiv 2210.17323). The
 * embedding matrix has no inputs; its rows are rounded as they are.
 */
public final class ModelQuantizer {
  /** The scales that are tried, as parts of the one that fits the largest weight. */
  private static final int TRIED = 24;

  private static final double LEAST_PART = 0.7;

  /** Half of float32's size; its error is far below that of the integers. */
  private static final StorageType SCALES = StorageType.F16;

  private final CheckpointDirectory checkpoint;
  private final Quantization quantization;
  private final CheckpointWeights weights;
  private final @Nullable InputStatistics inputs;

  private ModelQuantizer(
      CheckpointDirectory checkpoint,
      Quantization quantization,
      CheckpointWeights weights,
      @Nullable InputStatistics inputs) {
    this.checkpoint = checkpoint;
    this.quantization = quantization;
    this.weights = weights;
    this.inputs = inputs;
  }

  /** One matrix, quantised. */
  private record Quantized(byte[] integers, float[] scales) {}

  /**
   * Writes a quantised copy of a model. It appears under its name complete and on disk, or not at
   * all. Vectors (the norms' weights, biases) stay in a floating type, and so do matrices whose
   * rows are not whole groups.
   *
   * @param model a Hugging Face model directory, in a floating type
   * @param out a directory that does not exist or is empty
   * @param shardBytes the size that a file of weights should not pass; a single tensor may
   * @param texts to calibrate with, which are run through the model in both modes; a few hundred of
   *     the kind that it will embed. None: weights are rounded alone
   * @throws LlaraException if the model cannot be read, is quantised already or has weights that
   *     are not finite, does not say what its prompts are although there are texts, or the
   *     directory is not new or empty or cannot be written
   */
  public static void write(
      Path model, Path out, Quantization quantization, long shardBytes, List<String> texts) {
    AtomicFiles.requireFree(out);
    Libtorch.load();
    CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
    checkpoint.requireNotQuantized("it cannot be quantised again: use the model as it was");
    try (CheckpointWeights weights = new CheckpointWeights(checkpoint, null, true);
        InputStatistics inputs =
            texts.isEmpty() ? null : InputStatistics.of(checkpoint, weights, texts)) {
      ModelQuantizer quantizer = new ModelQuantizer(checkpoint, quantization, weights, inputs);
      AtomicFiles.writeDirectory(out, dir -> quantizer.fill(dir, shardBytes));
    }
  }

  private void fill(Path dir, long shardBytes) {
    Path source = checkpoint.path();
    JsonObject config = ModelFiles.json(source.resolve(CheckpointDirectory.CONFIG));
    Map<String, long[]> shapes = LlamaTensors.all(checkpoint.config());
    List<String> floating =
        checkpoint.tensors().keySet().stream()
            .filter(
                name ->
                    shape(shapes, name).length == 2
                        && !quantization.fits(name, shape(shapes, name)))
            .map(name -> LlamaTensors.storedName(name).replaceFirst("\\.weight$", ""))
            .toList();
    config.add(Quantization.KEY, quantization.toJson(floating));
    if (checkpoint.config().tieWordEmbeddings()
        || checkpoint.tensors().containsKey(LlamaTensors.HEAD)) {
      ModelFiles.nameModelWithHead(config, checkpoint.config());
    }
    AtomicFiles.writeJson(dir.resolve(CheckpointDirectory.CONFIG), config);
    ModelFiles.copyTokenizer(source, dir);
    ModelFiles.copy(source, dir, List.of(ModelFiles.GENERATION));
    checkpoint.llaraJson().ifPresent(recipe -> ModelFiles.writeRecipe(source, dir, recipe));
    writeWeights(dir, shapes, shardBytes);
    CheckpointDirectory.open(dir);
  }

  private static long[] shape(Map<String, long[]> shapes, String name) {
    return requireNonNull(shapes.get(name));
  }

  /** Tensors in the order of a forward pass, as many in a file as it may hold. */
  private void writeWeights(Path dir, Map<String, long[]> shapes, long shardBytes) {
    List<List<String>> shards = new ArrayList<>();
    long room = 0;
    for (String name : checkpoint.tensors().keySet()) {
      long bytes = storedBytes(name, shape(shapes, name));
      if (shards.isEmpty() || bytes > room) {
        shards.add(new ArrayList<>());
        room = shardBytes;
      }
      room -= bytes;
      shards.get(shards.size() - 1).add(name);
    }
    if (shards.size() == 1) {
      writeShard(dir.resolve(WeightFiles.SINGLE_FILE), shards.get(0), shapes, new JsonObject());
      return;
    }
    JsonObject files = new JsonObject();
    for (int i = 0; i < shards.size(); i++) {
      String name = "model-%05d-of-%05d.safetensors".formatted(i + 1, shards.size());
      writeShard(dir.resolve(name), shards.get(i), shapes, files);
    }
    JsonObject index = new JsonObject();
    index.add("metadata", new JsonObject());
    index.add("weight_map", files);
    AtomicFiles.writeJson(dir.resolve(WeightFiles.INDEX_FILE), index);
  }

  private long storedBytes(String name, long[] shape) {
    long elements = Arrays.stream(shape).reduce(1, Math::multiplyExact);
    int floating = checkpoint.weightType().bytes();
    return quantization.fits(name, shape)
        ? elements * quantization.bits(name) / 8
            + elements / quantization.group(shape[1]) * SCALES.bytes()
        : elements * floating;
  }

  private void writeShard(
      Path file, List<String> names, Map<String, long[]> shapes, JsonObject files) {
    SafetensorsWriter writer = new SafetensorsWriter();
    StorageType floating = checkpoint.weightType();
    for (String name : names) {
      long[] shape = shape(shapes, name);
      String stored = LlamaTensors.storedName(name);
      if (!quantization.fits(name, shape)) {
        writer.add(stored, floating, shape, out -> writeFloats(name, floating, out));
        files.addProperty(stored, file.getFileName().toString());
        continue;
      }
      Quantized quantized = quantize(name, (int) shape[1], quantization.group(shape[1]));
      String integers = quantization.integersName(stored);
      writer.add(
          integers,
          quantization.integersType(name),
          quantization.integersShape(name, shape),
          out -> ByteChannels.writeFully(out, ByteBuffer.wrap(quantized.integers())));
      files.addProperty(integers, file.getFileName().toString());
      String scales = Quantization.scalesName(stored);
      writer.add(scales, SCALES, quantization.scalesShape(shape), quantized.scales());
      files.addProperty(scales, file.getFileName().toString());
      quantization
          .addShape(writer, stored, shape)
          .ifPresent(whole -> files.addProperty(whole, file.getFileName().toString()));
    }
    writer.write(file);
  }

  private void writeFloats(String name, StorageType type, WritableByteChannel out)
      throws IOException {
    try (TensorScope scope = new TensorScope()) {
      StoredTensors.content(load(name), type).writeTo(out);
    }
  }

  private Tensor load(String name) {
    return TensorScope.adopt(weights.load(name, ScalarType.Float, WeightSource.Use.PASSING));
  }

  private Quantized quantize(String name, int width, int group) {
    float[] values;
    try (TensorScope scope = new TensorScope()) {
      values = Tensors.toFloats(load(name));
    }
    for (float value : values) {
      if (!Float.isFinite(value)) {
        throw new LlaraException(
            "%s: tensor %s has values that are not finite".formatted(checkpoint.path(), name));
      }
    }
    float[] root =
        inputs == null || name.equals(LlamaTensors.EMBEDDING) || name.equals(LlamaTensors.HEAD)
            ? null
            : inputs.inverseRoot(name.replaceFirst("\\.weight$", ""));
    int groupsPerRow = width / group;
    float[] scales = new float[values.length / group];
    int bits = quantization.bits(name);
    byte[] integers = new byte[Math.toIntExact((long) values.length * bits / 8)];
    int most = (1 << bits - 1) - 1;
    // Two rows never share a byte.
    IntStream.range(0, values.length / width)
        .parallel()
        .forEach(
            row -> {
              float[] rest = Arrays.copyOfRange(values, row * width, (row + 1) * width);
              for (int i = 0; i < groupsPerRow; i++) {
                float scale = scale(rest, i * group, group, most, root);
                scales[row * groupsPerRow + i] = scale;
                for (int column = i * group; column < (i + 1) * group; column++) {
                  int integer = scale == 0 ? 0 : rounded(rest[column] / scale, most);
                  int index = row * width + column;
                  if (bits == 8) {
                    integers[index] = (byte) integer;
                  } else {
                    integers[index / 2] |= (byte) (integer + 8 << index % 2 * 4);
                  }
                  if (root != null) {
                    spread(rest, column, rest[column] - scale * integer, root);
                  }
                }
              }
            });
    return new Quantized(integers, scales);
  }

  /** Lets the columns after one make up for its error. */
  private static void spread(float[] rest, int column, float error, float[] root) {
    int begin = column * rest.length;
    float share = error / root[begin + column];
    for (int i = column + 1; i < rest.length; i++) {
      rest[i] -= share * root[begin + i];
    }
  }

  /** Returns the scale of a group that leaves the least error, weighed by what columns cost. */
  private static float scale(
      float[] values, int begin, int size, int most, float @Nullable [] root) {
    float largest = 0;
    for (int i = begin; i < begin + size; i++) {
      largest = Math.max(largest, Math.abs(values[i]));
    }
    float best = 0;
    double least = Double.POSITIVE_INFINITY;
    for (int tried = 0; tried < TRIED && largest > 0; tried++) {
      double part = 1 - (1 - LEAST_PART) * tried / (TRIED - 1);
      float scale = SCALES.rounded((float) (largest / most * part));
      double error = 0;
      for (int i = begin; i < begin + size && scale > 0; i++) {
        double difference = values[i] - scale * (double) rounded(values[i] / scale, most);
        double cost = root == null ? 1 : root[i * values.length + i];
        error += difference * difference / (cost * cost);
      }
      if (scale > 0 && error < least) {
        least = error;
        best = scale;
      }
    }
    return best;
  }

  /** Rounded to the nearest integer in range; there is one more below zero than above. */
  private static int rounded(float value, int most) {
    return Math.max(-most - 1, Math.min(most, Math.round(value)));
  }
}
