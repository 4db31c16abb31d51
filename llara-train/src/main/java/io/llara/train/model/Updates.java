package io.llara.train.model;

import io.llara.LlaraException;
import io.llara.checkpoint.LoraAdapter;
import io.llara.checkpoint.TensorEntry;
import io.llara.tensor.StoredTensors;
import io.llara.tensor.TensorScope;
import io.llara.train.lora.Dropout;
import io.llara.train.lora.LoraOptions;
import java.util.Optional;
import java.util.Set;
import org.bytedeco.pytorch.Generator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** The low-rank updates that the projections of a model begin with. */
interface Updates {

  /**
   * An update of one projection, in the innermost scope.
   *
   * @param a {@code [rank, in]}, float32
   * @param b {@code [out, rank]}, float32
   * @param scale what their product is multiplied with
   */
  record Update(Tensor a, Tensor b, double scale) {}

  /** Returns the share of the inputs of {@code a} that is dropped while training. */
  double dropout();

  /**
   * Returns the update of a projection; empty if it stays as it is.
   *
   * @param module its canonical name
   * @param shape {@code [out, in]}
   * @param place its number in the model
   */
  Optional<Update> of(String module, long[] shape, int place);

  /** Fails if there is an update that no projection took. */
  void requireTaken(Set<String> modules);

  /** Returns updates that change nothing yet, as PEFT begins with them. */
  static Updates drawn(LoraOptions options, long seed) {
    return new Updates() {
      @Override
      public double dropout() {
        return options.dropout();
      }

      @Override
      public Optional<Update> of(String module, long[] shape, int place) {
        if (!options.targets().contains(module.substring(module.lastIndexOf('.') + 1))) {
          return Optional.empty();
        }
        try (TensorScope scope = new TensorScope()) {
          // Uniform within 1 / √in.
          double bound = 1 / Math.sqrt(shape[1]);
          Generator generator = torch.make_generator_cpu(Dropout.mix(seed) + place);
          Tensor a =
              torch
                  .empty(
                      new long[] {options.rank(), shape[1]},
                      new TensorOptions(ScalarType.Float),
                      null)
                  .uniform_(-bound, bound, new GeneratorOptional(generator));
          Tensor b = torch.zeros(shape[0], options.rank());
          return Optional.of(new Update(scope.keep(a), scope.keep(b), options.scale()));
        }
      }

      @Override
      public void requireTaken(Set<String> modules) {
        // Targets are names of projections that every model has.
      }
    };
  }

  /**
   * Returns the updates of an adapter.
   *
   * @throws LlaraException if it replaces whole weights
   */
  static Updates stored(LoraAdapter adapter, double dropout) {
    if (!adapter.replacements().isEmpty()) {
      throw new LlaraException(
          "%s: replaces %s as a whole; expected low-rank updates alone to train on"
              .formatted(adapter.path(), String.join(", ", adapter.replacements().keySet())));
    }
    return new Updates() {
      @Override
      public double dropout() {
        return dropout;
      }

      @Override
      public Optional<Update> of(String module, long[] shape, int place) {
        LoraAdapter.Pair pair = adapter.pairs().get(module + ".weight");
        return pair == null
            ? Optional.empty()
            : Optional.of(new Update(floats(pair.a()), floats(pair.b()), pair.scale()));
      }

      private Tensor floats(TensorEntry entry) {
        try (StoredTensors stored = new StoredTensors();
            TensorScope scope = new TensorScope()) {
          return scope.keep(TensorScope.adopt(stored.read(entry)).to(ScalarType.Float));
        }
      }

      @Override
      public void requireTaken(Set<String> modules) {
        for (String weight : adapter.pairs().keySet()) {
          if (!modules.contains(weight.replaceFirst("\\.weight$", ""))) {
            throw new LlaraException(
                "%s: adapts %s, which makes no embedding; expected projections of layers"
                    .formatted(adapter.path(), weight));
          }
        }
      }
    };
  }
}
