package io.llara.engine;

import io.llara.ComputeType;
import io.llara.OutOfDeviceMemoryException;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.io.Messages;
import io.llara.kernels.Accelerator;
import io.llara.tensor.Tensors;
import java.util.Arrays;
import java.util.Map;
import org.bytedeco.pytorch.global.torch;

/**
 * What an encoder needs of a device's memory, estimated from shapes before anything is loaded.
 *
 * @param weights bytes of weights, and of the largest group of them that is joined while loading
 * @param batches bytes of what lives at once in a forward pass, of all lanes
 * @param batchRows rows of a batch, of one lane
 */
record DeviceMemory(long weights, long batches, int batchRows) {

  /**
   * Estimates.
   *
   * @param positions how many positions the table of rotary angles has
   * @param rows the most rows of a batch
   */
  static DeviceMemory estimate(
      LlamaConfig config, ComputeType type, int positions, int rows, int lanes) {
    long width = torch.elementSize(Tensors.scalarType(type));
    long matrices = type == ComputeType.FLOAT8 ? 1 : width;
    long weights = 0;
    for (Map.Entry<String, long[]> tensor : LlamaTensors.required(config).entrySet()) {
      long elements = Arrays.stream(tensor.getValue()).reduce(1, Math::multiplyExact);
      weights += elements * (LlamaTensors.isProjection(tensor.getKey()) ? matrices : width);
    }
    long joined = 2L * config.intermediateSize() * config.hiddenSize();
    long angles = 2L * positions * config.headDim();
    // At its widest, in the feed-forward block: the residual stream, what it is normalised to, both
    // factors of the gate; in attention it is the stream twice, queries, keys, values and results.
    long feedForward = 2L * config.hiddenSize() + 2L * config.intermediateSize();
    long attention =
        3L * config.hiddenSize() + 2L * config.queryWidth() + 2L * config.keyValueWidth();
    long row = Math.max(feedForward, attention) + 2L * config.headDim();
    // Activations are rounded beside what they were.
    long batches = row * rows * lanes * (type == ComputeType.FLOAT8 ? width + 1 : width);
    return new DeviceMemory(weights + (joined + angles) * width, batches, rows);
  }

  /**
   * Checks it against what is free.
   *
   * @throws OutOfDeviceMemoryException if it does not fit
   */
  void requireFits(Accelerator device) {
    long free = device.freeBytes();
    if (weights + batches > free) {
      throw new OutOfDeviceMemoryException(
          "%s has %s free; the model takes %s for its weights and %s for batches of %d tokens: choose %s or another device"
              .formatted(
                  device.name(),
                  Messages.gibibytes(free),
                  Messages.gibibytes(weights),
                  Messages.gibibytes(batches),
                  batchRows,
                  weights > free
                      ? "a type of fewer bytes, a smaller model"
                      : "a smaller batchTokens"));
    }
  }
}
