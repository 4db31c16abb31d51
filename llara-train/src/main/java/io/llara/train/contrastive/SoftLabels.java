package io.llara.train.contrastive;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * What a teacher makes of queries and passages (Hinton et al., arXiv 1503.02531): for each query a
 * distribution {@code t} over passages, the softmax of the teacher's scores, and the divergence
 * {@code KL(t ‖ softmax s) = Σ t (log t − log softmax s)} of the student's scores from it, in
 * float32. Differentiated by hand: {@code softmax s − t}.
 *
 * <p>The tensors stay the caller's. For threads whose gradient mode is off.
 */
abstract sealed class SoftLabels {

  /**
   * Returns distributions over all passages of a batch: the softmax of {@code q·P / temperature}.
   *
   * @param queries the teacher's, {@code [queries, dimension]}, of length 1
   * @param passages the teacher's, {@code [passages, dimension]}, of length 1
   */
  static SoftLabels ofVectors(Tensor queries, Tensor passages, double temperature) {
    return new OfBatch(queries, passages, temperature);
  }

  /**
   * Returns distributions over the passages of each query's own, the positive first.
   *
   * @param scores the teacher's, {@code [queries, group]}
   */
  static SoftLabels ofScores(Tensor scores) {
    return new OfGroups(scores);
  }

  /**
   * Returns the sum of the divergences of some queries.
   *
   * @param scores the student's, {@code [some, passages]}, divided by its temperature
   * @param from the first of these queries among all
   * @param positives the place of each one's positive, {@code [some, 1]}
   * @param gradient gets the gradient by the scores, times {@code scale}, added
   */
  abstract double divergence(
      Tensor scores, long from, Tensor positives, @Nullable Tensor gradient, double scale);

  /** Returns the sum; puts the gradient, times a scale, in the place of the student's scores. */
  private static double divergence(Tensor student, Tensor teacher, double scale) {
    Tensor wanted = torch.log_softmax(teacher, 1);
    Tensor logs = torch.log_softmax(student, 1);
    Tensor shares = wanted.exp();
    float[] sums =
        Tensors.toFloats(
            shares.mul(wanted.sub(logs)).sum(new long[] {1}, false, new ScalarTypeOptional()));
    student.copy_(logs.exp_().sub_(shares).mul_(new Scalar(scale)));
    return IntStream.range(0, sums.length).mapToDouble(i -> sums[i]).sum();
  }

  private static final class OfBatch extends SoftLabels {
    private final Tensor queries;
    private final Tensor passages;
    private final double temperature;

    OfBatch(Tensor queries, Tensor passages, double temperature) {
      this.queries = queries;
      this.passages = passages;
      this.temperature = temperature;
    }

    @Override
    double divergence(
        Tensor scores, long from, Tensor positives, @Nullable Tensor gradient, double scale) {
      try (TensorScope scope = new TensorScope()) {
        Tensor teacher =
            queries.narrow(0, from, scores.size(0)).mm(passages.t()).div_(new Scalar(temperature));
        Tensor student = scores.clone();
        double sum = SoftLabels.divergence(student, teacher, scale);
        if (gradient != null) {
          gradient.add_(student);
        }
        return sum;
      }
    }
  }

  private static final class OfGroups extends SoftLabels {
    private final Tensor teacher;

    OfGroups(Tensor teacher) {
      this.teacher = teacher;
    }

    @Override
    double divergence(
        Tensor scores, long from, Tensor positives, @Nullable Tensor gradient, double scale) {
      try (TensorScope scope = new TensorScope()) {
        int[] group = IntStream.range(0, Math.toIntExact(teacher.size(1))).toArray();
        Tensor own = positives.add(Tensors.ofInts(group, positives));
        Tensor student = scores.gather(1, own);
        double sum = SoftLabels.divergence(student, teacher.narrow(0, from, scores.size(0)), scale);
        if (gradient != null) {
          gradient.scatter_add_(1, own, student);
        }
        return sum;
      }
    }
  }
}
