package io.llara.train.run;

import io.llara.Internal;
import io.llara.OutOfDeviceMemoryException;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.io.Messages;
import io.llara.kernels.Accelerator;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.TrainedModel;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.global.torch;

/**
 * What training needs of a device's memory, estimated from shapes before anything is loaded: what
 * the tensors add up to that are alive at the worst moment, without what an allocator adds.
 *
 * @param weights bytes of what does not train
 * @param trained bytes of trained tensors in float32 and in the compute type, their gradients and
 *     the optimiser's two moments
 * @param batches bytes of what lives at once in a pass forward and backward
 * @param rows tokens of all passes that run at once
 */
@Internal
public record TrainingMemory(long weights, long trained, long batches, long rows) {

  /**
   * What is run forward and backward at once.
   *
   * @param rows the most tokens, of all lanes
   * @param lossBytes what their loss takes
   */
  @Internal
  public record Pass(long rows, long lossBytes) {}

  /**
   * Estimates.
   *
   * @param lora empty if all parameters train
   * @param pass what is run at once
   * @param recompute whether layers are run again in the backward pass
   */
  static TrainingMemory estimate(
      LlamaConfig config,
      TrainedModel.Settings settings,
      Optional<LoraOptions> lora,
      Pass pass,
      boolean recompute) {
    Map<String, long[]> shapes =
        settings.head() ? LlamaTensors.all(config) : LlamaTensors.required(config);
    long all = shapes.values().stream().mapToLong(TrainingMemory::elements).sum();
    long width = torch.elementSize(settings.type());
    long updates = lora.map(options -> updates(options, shapes)).orElse(all);
    // The value, two moments, the sum of gradients and one gradient on its way to it.
    long ofTrained = 5L * Float.BYTES + (width == Float.BYTES ? 0 : width);
    return new TrainingMemory(
        lora.isPresent() ? all * width : 0,
        updates * ofTrained,
        batches(config, settings, lora, pass, recompute),
        pass.rows());
  }

  private static long elements(long[] shape) {
    return Arrays.stream(shape).reduce(1, Math::multiplyExact);
  }

  /** The elements of low-rank updates. */
  private static long updates(LoraOptions lora, Map<String, long[]> shapes) {
    return shapes.entrySet().stream()
        .filter(
            weight ->
                lora.targets().stream().anyMatch(t -> weight.getKey().endsWith(t + ".weight")))
        .mapToLong(weight -> lora.rank() * (weight.getValue()[0] + weight.getValue()[1]))
        .sum();
  }

  private static long batches(
      LlamaConfig config,
      TrainedModel.Settings settings,
      Optional<LoraOptions> lora,
      Pass pass,
      boolean recompute) {
    long width = torch.elementSize(settings.type());
    long hidden = config.hiddenSize();
    long inner = config.intermediateSize();
    long queries = config.queryWidth();
    long keys = 2L * config.keyValueWidth();
    // What the backward pass of a layer reads: its input, that normalised, queries, keys, values
    // and the result of attention; the sum after it, that normalised, both factors of the gate,
    // the one of them activated, and their product.
    long layer = 4 * hidden + 2 * queries + keys + 4 * inner;
    if (lora.isPresent()) {
      long targets = lora.get().targets().size();
      layer += targets * lora.get().rank();
      if (lora.get().dropout() > 0) {
        layer += 2 * targets * Math.max(hidden, inner); // What was kept, and what that leaves.
      }
    }
    // The gradients of a layer at their widest.
    long gradients = 4 * hidden + 4 * inner;
    long kept =
        recompute ? (config.layers() + 1) * hidden + layer : config.layers() * layer + 2 * hidden;
    return pass.rows() * width * (kept + gradients) + pass.lossBytes();
  }

  /** Returns what all of it takes, in bytes. */
  long total() {
    return weights + trained + batches;
  }

  /**
   * Checks it against what is free.
   *
   * @throws OutOfDeviceMemoryException if it does not fit
   */
  void requireFits(Accelerator device) {
    long free = device.freeBytes();
    if (total() > free) {
      throw new OutOfDeviceMemoryException(
          "%s has %s free; training takes %s for weights that stay, %s for those that train and their optimiser, and %s for %d tokens at once: choose %s or another device"
              .formatted(
                  device.name(),
                  Messages.gibibytes(free),
                  Messages.gibibytes(weights),
                  Messages.gibibytes(trained),
                  Messages.gibibytes(batches),
                  rows,
                  weights + trained > free
                      ? weights == 0 ? "LoRA, a smaller model" : "a smaller model"
                      : RunOptions.LESS_MEMORY));
    }
  }
}
