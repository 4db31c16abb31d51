package io.llara.kernels;

import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Rows rounded to eight-bit floats (e4m3: four bits of exponent, three of mantissa; OCP 8-bit
 * Floating Point Specification 1.0), each with a scale that maps its largest component to {@value
 * #LARGEST}.
 *
 * @param values {@code [rows, width]}, {@code Float8_e4m3fn}
 * @param scales {@code [rows, 1]}, float32; a row is {@code values · scales}
 */
public record Float8Rows(Tensor values, Tensor scales) {
  /** The largest number of that type. */
  static final double LARGEST = 448;

  /** Rows that are smaller everywhere become zero. */
  private static final double LEAST = 1e-30;

  /** Rounds rows with libtorch's operators; the result belongs to the caller's innermost scope. */
  static Float8Rows of(Tensor x) {
    try (TensorScope scope = new TensorScope()) {
      Tensor largest =
          x.abs().amax(new long[] {1}, true).to(ScalarType.Float).clamp_min_(new Scalar(LEAST));
      Tensor inverse = largest.reciprocal().mul_(new Scalar(LARGEST));
      Tensor values = x.to(ScalarType.Float).mul(inverse).to(ScalarType.Float8_e4m3fn);
      Tensor scales = largest.div_(new Scalar(LARGEST));
      return new Float8Rows(scope.keep(values), scope.keep(scales));
    }
  }
}
