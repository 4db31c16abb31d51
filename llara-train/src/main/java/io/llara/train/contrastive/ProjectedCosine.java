package io.llara.train.contrastive;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientSink;
import io.llara.train.autograd.Parameter;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The loss {@code 1 − cos(W e, t)} between embeddings {@code e}, through a projection {@code W}
 * that trains with them, and a teacher's vectors {@code t} of the same texts, in float32.
 * Differentiated by hand. The projection begins as the identity: the first dimensions are to be the
 * teacher's.
 *
 * <p>For threads whose gradient mode is off.
 */
final class ProjectedCosine implements AutoCloseable {
  /** The name of {@code W} in checkpoints. */
  static final String PROJECTION = "teacher_projection.weight";

  /** What lengths are at least taken for. */
  private static final double LEAST_NORM = 1e-12;

  private final Parameter projection;

  /**
   * Makes the projection, {@code [teacher's dimension, hidden]}.
   *
   * @param placed puts a tensor on the device that the embeddings are on
   */
  ProjectedCosine(int teacherDimension, int hidden, UnaryOperator<Tensor> placed) {
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Tensor identity = placed.apply(torch.eye(teacherDimension, hidden));
      projection = Parameter.of(PROJECTION, identity, ScalarType.Float);
    }
  }

  /** Returns {@code W}; it stays this object's. */
  Parameter projection() {
    return projection;
  }

  /**
   * Returns the sum of the losses of texts.
   *
   * @param embeddings {@code [texts, hidden]}, float32, of any length
   * @param teacher {@code [texts, teacher's dimension]}, of length 1
   */
  double losses(Tensor embeddings, Tensor teacher) {
    try (TensorScope scope = new TensorScope()) {
      return new Forward(embeddings, teacher).sum();
    }
  }

  /**
   * Computes the losses of texts and their gradients.
   *
   * @param embeddings {@code [texts, hidden]}, float32, of any length
   * @param teacher {@code [texts, teacher's dimension]}, of length 1
   * @param scale the derivative of the whole loss by the sum
   * @param gradient gets the gradient by the embeddings, added
   * @param sink gets the gradient of the projection
   * @return the sum of the losses
   */
  double differentiate(
      Tensor embeddings, Tensor teacher, double scale, Tensor gradient, GradientSink sink) {
    try (TensorScope scope = new TensorScope()) {
      Forward forward = new Forward(embeddings, teacher);
      Tensor byProjected =
          forward
              .units
              .mul(forward.cosines)
              .sub_(teacher)
              .div_(forward.lengths)
              .mul_(new Scalar(scale));
      gradient.addmm_(byProjected, projection.leaf());
      sink.add(projection, byProjected.t().mm(embeddings));
      return forward.sum();
    }
  }

  /** Projected embeddings, in the innermost scope. */
  private final class Forward {
    final Tensor lengths;
    final Tensor units;
    final Tensor cosines;

    Forward(Tensor embeddings, Tensor teacher) {
      Tensor projected = embeddings.mm(projection.leaf().t());
      lengths =
          torch
              .linalg_vector_norm(
                  projected, new Scalar(2.0), new long[] {1}, true, new ScalarTypeOptional())
              .clamp_min_(new Scalar(LEAST_NORM));
      units = projected.div(lengths);
      cosines = units.mul(teacher).sum(new long[] {1}, true, new ScalarTypeOptional());
    }

    double sum() {
      float[] values = Tensors.toFloats(cosines);
      return IntStream.range(0, values.length).mapToDouble(i -> 1 - (double) values[i]).sum();
    }
  }

  @Override
  public void close() {
    projection.close();
  }
}
