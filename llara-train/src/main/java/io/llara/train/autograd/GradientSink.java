package io.llara.train.autograd;

import org.bytedeco.pytorch.Tensor;

/** Takes gradients as they become final. */
@FunctionalInterface
public interface GradientSink {

  /**
   * Takes the gradient of a parameter, complete as far as this caller contributes to it; called at
   * most once for each parameter and pass.
   *
   * @param gradient of the parameter's shape, float32 or in the compute type; the handle stays the
   *     caller's, but what it holds may be added to from now on, and must not be read again
   */
  void add(Parameter parameter, Tensor gradient);
}
