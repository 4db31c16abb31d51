package io.llara.train.lora;

import io.llara.Internal;
import io.llara.kernels.Projection;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * A frozen projection and its trained low-rank update: {@code W x + scale · B A dropout(x)}. Owns
 * the base and the handles.
 *
 * @param a {@code [rank, in]}
 * @param b {@code [out, rank]}
 * @param place tells this projection's dropout from others'
 */
@Internal
public record LoraProjection(
    Projection base, Tensor a, Tensor b, double scale, Dropout dropout, int place)
    implements Projection {

  /**
   * The scale is applied to the narrow product and the sum rides along with the last one; autograd
   * does not need {@code y} as it was.
   */
  @Override
  public Tensor apply(Tensor x) {
    try (TensorScope scope = new TensorScope()) {
      Tensor y = base.apply(x);
      Tensor inner = torch.linear(dropout.apply(x, place), a).mul(new Scalar(scale));
      return scope.keep(y.addmm_(inner, b.t()));
    }
  }

  @Override
  public void close() {
    base.close();
    a.close();
    b.close();
  }
}
