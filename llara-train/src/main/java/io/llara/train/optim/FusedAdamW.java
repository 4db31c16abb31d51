package io.llara.train.optim;

import io.llara.tensor.Operator;
import io.llara.tensor.TensorScope;
import java.util.List;
import org.bytedeco.pytorch.GenericList;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;

/**
 * libtorch's {@code aten::_fused_adamw_}: one pass over parameter, gradient and both moments. Its
 * CPU kernel walks bare memory in the order of the parameter, so everything it is given must be
 * contiguous and of one type.
 */
final class FusedAdamW {
  /** Looked up once and kept for the process. */
  private static final Operator OPERATOR = new Operator("aten::_fused_adamw_", "");

  private FusedAdamW() {}

  /** Changes parameters and moments in place; the lists are of one length and one order. */
  static void step(
      IValue parameters,
      IValue gradients,
      IValue firstMoments,
      IValue secondMoments,
      IValue steps,
      double learningRate,
      AdamW.Settings settings) {
    try (TensorScope scope = new TensorScope()) {
      OPERATOR.run(
          parameters,
          gradients,
          firstMoments,
          secondMoments,
          list(List.of()), // maxima of the second moments: AMSGrad's
          steps,
          new IValue(learningRate),
          new IValue(settings.beta1()),
          new IValue(settings.beta2()),
          new IValue(settings.weightDecay()),
          new IValue(settings.eps()),
          new IValue(false), // AMSGrad
          new IValue(false), // maximise
          new IValue(), // scale of the gradients
          new IValue()); // whether an infinity was found
    }
  }

  /** Makes a list of tensors as an argument, in the caller's innermost scope. */
  static IValue list(List<Tensor> tensors) {
    IValue list = OPERATOR.emptyList(0);
    try (TensorScope scope = new TensorScope()) {
      GenericList elements = list.toList(); // The same list, not a copy.
      elements.reserve(tensors.size());
      for (Tensor tensor : tensors) {
        elements.push_back(new IValue(tensor));
      }
    }
    return list;
  }
}
