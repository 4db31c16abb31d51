package io.llara.kernels;

import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * A computation recorded for autograd in which some operations bring their own gradients; the
 * presets have no {@code autograd::Function}.
 *
 * <p>Libtorch's graph is cut at each of these operations: the result is a leaf, and the tape keeps
 * what it was made of. Backward takes the cuts last to first. Autograd takes the gradient to the
 * result of a cut, the cut's own function from there to its inputs, whose gradients then count
 * among those that autograd starts from. Each asks for one leaf, so that no product is computed
 * twice; what is left at the end is the gradients of parameters.
 *
 * <p>For one thread. Closing frees what was kept.
 */
public final class GradientTape implements AutoCloseable {
  private static final ThreadLocal<@Nullable GradientTape> CURRENT = new ThreadLocal<>();

  private final List<Cut> cuts = new ArrayList<>();

  /** Makes an empty tape. */
  public GradientTape() {}

  /** The gradient of an operation. */
  @FunctionalInterface
  interface Gradient {
    /**
     * Returns the gradients by the inputs, in their order, in the innermost scope; those by inputs
     * at the end that need none may be left out.
     *
     * @param inputs those of the operation
     * @param result its result
     * @param resultGradient the gradient by it, of its shape and type
     */
    List<Tensor> apply(List<Tensor> inputs, Tensor result, Tensor resultGradient);
  }

  /** Owns its tensors. */
  private record Cut(List<Tensor> inputs, Tensor result, Gradient gradient) {}

  /**
   * Runs a computation and records it. The tape may be recorded on once.
   *
   * @return its result, as the computation returns it
   */
  public Tensor record(Supplier<Tensor> computation) {
    GradientTape outer = CURRENT.get();
    CURRENT.set(this);
    try (AutoGradMode mode = new AutoGradMode(true)) {
      return computation.get();
    } finally {
      if (outer == null) {
        CURRENT.remove();
      } else {
        CURRENT.set(outer);
      }
    }
  }

  /** Returns whether an operation on these inputs has to be recorded. */
  static boolean records(List<Tensor> inputs) {
    return GradMode.is_enabled() && inputs.stream().anyMatch(Tensor::requires_grad);
  }

  /**
   * Puts an operation on this thread's tape, if it has to be recorded.
   *
   * @param inputs what its gradient needs, and is taken by where that requires one
   * @param result computed behind autograd's back
   * @return the result, in the innermost scope
   * @throws IllegalStateException if it has to be recorded and there is no tape
   */
  static Tensor cut(Tensor result, List<Tensor> inputs, Gradient gradient) {
    if (!records(inputs)) {
      return result;
    }
    GradientTape tape = CURRENT.get();
    if (tape == null) {
      throw new IllegalStateException("these kernels are differentiated on a GradientTape");
    }
    Tensor leaf = result.detach().requires_grad_(true);
    try (TensorScope scope = new TensorScope()) {
      tape.cuts.add(new Cut(inputs.stream().map(scope::own).toList(), scope.own(leaf), gradient));
    }
    return leaf;
  }

  /**
   * Differentiates what was recorded, once.
   *
   * @param output the result of the computation
   * @param outputGradient the gradient by it, of its shape and type
   * @param inputs leaves that the computation uses
   * @return the gradients by these, in their order, in the innermost scope
   */
  public TensorVector differentiate(Tensor output, Tensor outputGradient, TensorVector inputs) {
    TensorVector from = new TensorVector(output);
    TensorVector gradients = new TensorVector(outputGradient);
    try (AutoGradMode mode = new AutoGradMode(false)) {
      for (int i = cuts.size() - 1; i >= 0; i--) {
        try (TensorScope scope = new TensorScope()) {
          Cut cut = cuts.get(i);
          Tensor gradient =
              torch
                  .grad(
                      from,
                      new TensorVector(cut.result),
                      gradients,
                      new BoolOptional(true),
                      false,
                      true)
                  .get(0);
          if (gradient.defined()) {
            List<Tensor> found = cut.gradient.apply(cut.inputs, cut.result, gradient);
            for (int j = 0; j < found.size(); j++) {
              if (cut.inputs.get(j).requires_grad()) {
                from.push_back(cut.inputs.get(j));
                gradients.push_back(found.get(j));
              }
            }
          }
        }
      }
      return torch.grad(from, inputs, gradients, new BoolOptional(), false, false);
    }
  }

  @Override
  public void close() {
    for (Cut cut : cuts) {
      cut.inputs.forEach(Tensor::close);
      cut.result.close();
    }
    cuts.clear();
  }
}
