package io.llara.train.model;

import io.llara.LlaraException;
import io.llara.checkpoint.LoraAdapter;
import io.llara.checkpoint.TensorEntry;
import io.llara.model.StoredTensors;
import io.llara.tensor.TensorScope;
import io.llara.train.lora.Dropout;
import io.llara.train.lora.LoraOptions;
import java.util.Optional;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The low-rank updates that the projections of a model begin with.
 *
 * @param dropout the share of the inputs of {@code A} that is dropped while training
 * @param factors the factors of each projection
 */
record Updates(double dropout, Factors factors) {

  /**
   * An update of one projection, in the innermost scope.
   *
   * @param a {@code [rank, in]}, float32
   * @param b {@code [out, rank]}, float32
   * @param scale what their product is multiplied with
   */
  record Update(Tensor a, Tensor b, double scale) {}

  /** Makes the update of a projection. */
  interface Factors {
    /**
     * Returns the update of a projection; empty if it stays as it is.
     *
     * @param module its canonical name
     * @param shape {@code [out, in]}
     * @param place its number in the model
     */
    Optional<Update> of(String module, long[] shape, int place);
  }

  /** Returns updates that change nothing yet, as PEFT begins with them. */
  static Updates drawn(LoraOptions options, long seed) {
    return new Updates(
        options.dropout(),
        (module, shape, place) ->
            options.targets().contains(target(module))
                ? Optional.of(draw(options, shape, Dropout.mix(seed) + place))
                : Optional.empty());
  }

  private static String target(String module) {
    return module.substring(module.lastIndexOf('.') + 1);
  }

  private static Update draw(LoraOptions options, long[] shape, long seed) {
    try (TensorScope scope = new TensorScope()) {
      // Uniform within 1 / √in.
      double bound = 1 / Math.sqrt(shape[1]);
      Tensor a =
          torch
              .empty(
                  new long[] {options.rank(), shape[1]}, new TensorOptions(ScalarType.Float), null)
              .uniform_(-bound, bound, new GeneratorOptional(torch.make_generator_cpu(seed)));
      Tensor b = torch.zeros(shape[0], options.rank());
      return new Update(scope.keep(a), scope.keep(b), options.scale());
    }
  }

  /**
   * Returns the updates of an adapter.
   *
   * @throws LlaraException if it changes anything but projections of layers, or whole weights
   */
  static Updates stored(LoraAdapter adapter, double dropout) {
    if (!adapter.replacements().isEmpty()) {
      throw new LlaraException(
          "%s: replaces %s as a whole (modules_to_save); only low-rank updates can be trained further"
              .formatted(adapter.path(), String.join(", ", adapter.replacements().keySet())));
    }
    for (String weight : adapter.pairs().keySet()) {
      if (!LoraOptions.ALL_TARGETS.contains(target(weight.replaceFirst("\\.weight$", "")))) {
        throw new LlaraException(
            "%s: adapts %s; supported are the projections of layers, %s: nothing else makes an embedding"
                .formatted(adapter.path(), weight, String.join(", ", LoraOptions.ALL_TARGETS)));
      }
    }
    return new Updates(
        dropout,
        (module, shape, place) ->
            Optional.ofNullable(adapter.pairs().get(module + ".weight"))
                .map(pair -> new Update(floats(pair.a()), floats(pair.b()), pair.scale())));
  }

  private static Tensor floats(TensorEntry entry) {
    try (StoredTensors stored = new StoredTensors();
        TensorScope scope = new TensorScope()) {
      return scope.keep(TensorScope.adopt(stored.read(entry)).to(ScalarType.Float));
    }
  }
}
