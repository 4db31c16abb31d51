package io.llara.train.optim;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.List;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The length of all gradients taken as one vector, and a bound on it.
 *
 * <p>libtorch's own {@code clip_grad_norm_} sums in float32, differently for each number of
 * threads, and spoils all gradients when one is not finite. Thread-safe.
 */
public final class GradientClipping {
  /**
   * Elements whose squares are summed in float32. Short runs lose nothing that matters, and each is
   * summed by one thread: the result does not depend on how many there are.
   */
  private static final long RUN = 1024;

  /** What torch adds to the norm before it divides by it. */
  private static final double EPSILON = 1e-6;

  private GradientClipping() {}

  /**
   * Returns the Euclidean norm over all elements of all gradients; not finite if an element is not.
   */
  public static double globalNorm(List<Tensor> gradients) {
    if (gradients.isEmpty()) {
      return 0;
    }
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope all = new TensorScope()) {
      // Where they are; a device answers once, not for each of them.
      Tensor squares = Tensors.zeros(ScalarType.Double, gradients.get(0), 1);
      for (Tensor gradient : gradients) {
        try (TensorScope scope = new TensorScope()) {
          Tensor flat = gradient.reshape(-1);
          long runs = flat.numel() / RUN;
          long rest = flat.numel() % RUN;
          squares.add_(squares(flat.narrow(0, 0, runs * RUN).view(runs, RUN)));
          squares.add_(squares(flat.narrow(0, runs * RUN, rest).view(1, rest)));
        }
      }
      return Math.sqrt(squares.item_double());
    }
  }

  /** Returns the sum of squares: in float32 over a row, in float64 over the rows. */
  private static Tensor squares(Tensor rows) {
    Tensor norms =
        torch.linalg_vector_norm(
            rows, new Scalar(2.0), new long[] {1}, false, new ScalarTypeOptional());
    Tensor exact = norms.to(ScalarType.Double);
    return exact.dot(exact);
  }

  /**
   * Scales all gradients in place so that their {@linkplain #globalNorm norm} is at most a bound,
   * as {@code torch.nn.utils.clip_grad_norm_} does: by {@code maxNorm / (norm + 1e-6)} where that
   * is below 1. A norm that is not finite leaves them as they are, for the caller to see.
   *
   * @param maxNorm the bound; infinity for none
   * @return the norm before
   * @throws IllegalArgumentException if the bound is not above 0
   */
  public static double clip(List<Tensor> gradients, double maxNorm) {
    if (!(maxNorm > 0)) {
      throw new IllegalArgumentException(
          "the largest norm is " + maxNorm + "; expected more than 0");
    }
    double norm = globalNorm(gradients);
    double scale = maxNorm / (norm + EPSILON);
    if (scale < 1 && Double.isFinite(norm)) {
      try (NoGradGuard noGrad = new NoGradGuard();
          TensorScope scope = new TensorScope()) {
        gradients.forEach(gradient -> gradient.mul_(new Scalar(scale)));
      }
    }
    return norm;
  }
}
