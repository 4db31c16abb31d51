package io.llara.model;

import io.llara.kernels.Projection;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntUnaryOperator;
import org.bytedeco.pytorch.Tensor;

/**
 * Where a model gets the parts that hold weights: as they are stored, packed for a processor, or to
 * be trained. Called once for each part, in the order a forward pass meets them, by one thread;
 * layers by several at once where {@link #forThreads} allows it. The model owns what it is given.
 */
public interface Parts {

  /** Returns the embedding matrix, {@code [vocabulary, hidden]}. */
  TokenEmbedding embedding();

  /**
   * Returns the scale of a norm, {@code [hidden]}.
   *
   * @param name the weight's canonical name, such as {@code layers.0.input_layernorm.weight}
   */
  Tensor norm(String name);

  /**
   * Returns a linear map of a layer.
   *
   * @param module its canonical name without {@code .weight}, such as {@code
   *     layers.0.self_attn.q_proj}
   */
  Projection projection(String module);

  /** Returns linear maps that are applied to the same rows, as {@link #projection} each. */
  default List<Projection> projections(List<String> modules) {
    List<Projection> made = new ArrayList<>();
    try {
      modules.forEach(module -> made.add(projection(module)));
      return made;
    } catch (RuntimeException | Error e) {
      made.forEach(Projection::close);
      throw e;
    }
  }

  /** Returns whether several threads may ask for parts at once, in any order; by default false. */
  default boolean forThreads() {
    return false;
  }

  /**
   * Returns how many rows a batch is padded to, given its own. Projections that are compiled for a
   * number of rows, and kept, keep the set of these numbers small by it.
   */
  IntUnaryOperator rowPadding();
}
