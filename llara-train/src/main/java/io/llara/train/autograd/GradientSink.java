package io.llara.train.autograd;

import org.bytedeco.pytorch.Tensor;

/** Takes gradients as they become final. */
@FunctionalInterface
public interface GradientSink {

  /**
   * Takes the gradient of a parameter, complete as far as this caller contributes to it; called at
   * most once for each parameter and pass.
   *
   * @param gradient of the parameter's shape, float32 or in the compute type; it stays the caller's
   *     and is not changed
   */
  void add(Parameter parameter, Tensor gradient);
}
