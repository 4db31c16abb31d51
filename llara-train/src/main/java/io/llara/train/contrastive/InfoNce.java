package io.llara.train.contrastive;

import io.llara.Internal;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.Optional;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * The InfoNCE loss (arXiv 1807.03748, equation 4) of embeddings: {@code −log softmax(q·P / τ)} of
 * each query's positive among all passages there are, those of other queries too (in-batch
 * negatives), and its gradient by the embeddings, in float32.
 *
 * <p>A few rows of scores exist at a time, however many queries there are. Differentiated by hand:
 * autograd takes 6 to 18 % longer (64 queries and 256 passages, hidden sizes 576 and 2,048), a
 * third longer with 512 queries and 8,192 passages (a Zen 5 core). For threads whose gradient mode
 * is off. Immutable and thread-safe.
 *
 * @param temperature τ, what scores are divided by; more than 0
 * @param normalized whether embeddings are scaled to length 1 first, as in the released models; a
 *     temperature other than 1 is meant as it stands in either case
 */
@Internal
public record InfoNce(double temperature, boolean normalized) {
  /** Scores that exist at a time. */
  private static final long CHUNK = 1 << 20;

  /** What lengths are at least taken for, as torch's normalize does. */
  private static final double LEAST_NORM = 1e-12;

  /** Checks the temperature. */
  public InfoNce {
    if (!(temperature > 0) || Double.isInfinite(temperature)) {
      throw new IllegalArgumentException("temperature is " + temperature + ", not more than 0");
    }
  }

  /**
   * What comes out for some queries.
   *
   * @param loss the sum of their losses
   * @param kl the sum of their divergences from a teacher's similarities
   * @param scoreKl the sum of their divergences from a teacher's scores
   * @param hits how many have their positive above every other passage
   */
  record Sums(double loss, double kl, double scoreKl, long hits) {
    static final Sums ZERO = new Sums(0, 0, 0, 0);

    Sums plus(Sums other) {
      return new Sums(loss + other.loss, kl + other.kl, scoreKl + other.scoreKl, hits + other.hits);
    }
  }

  /**
   * What scores are to be.
   *
   * @param first the place of the first query's positive among the passages; that of query {@code
   *     i} is {@code first + i · group}
   * @param similarities what a teacher's similarities make of all passages
   * @param scores what a teacher's scores make of each query's own
   */
  record Targets(
      int first, int group, Optional<SoftLabels> similarities, Optional<SoftLabels> scores) {
    Targets(int first, int group) {
      this(first, group, Optional.empty(), Optional.empty());
    }

    int of(int query) {
      return first + query * group;
    }
  }

  /**
   * The derivatives of the whole loss by the sums.
   *
   * @param loss by the sum of losses
   * @param kl by the sum of divergences from similarities
   * @param scoreKl by the sum of divergences from scores
   */
  record Scale(double loss, double kl, double scoreKl) {
    Scale times(double factor) {
      return new Scale(loss * factor, kl * factor, scoreKl * factor);
    }
  }

  /**
   * The losses of queries and their gradient.
   *
   * @param queryGradient the gradient by the queries, of their shape, in the caller's innermost
   *     scope
   * @param passageGradient the gradient by the passages likewise
   */
  record Differentiated(Sums sums, Tensor queryGradient, Tensor passageGradient) {}

  /** Where the gradients by embeddings go, and what the scores' own are multiplied with. */
  private record Backward(Tensor queries, Tensor passages, Scale scale) {}

  /**
   * Computes the losses of queries.
   *
   * @param queries {@code [queries, hidden]}, float32, not normalised
   * @param passages {@code [passages, hidden]}, float32, not normalised
   */
  Sums losses(Tensor queries, Tensor passages, Targets targets) {
    try (TensorScope scope = new TensorScope()) {
      return losses(embeddings(queries), embeddings(passages), targets, null);
    }
  }

  /**
   * Computes the losses of queries and their gradient.
   *
   * @param queries {@code [queries, hidden]}, float32, not normalised
   * @param passages {@code [passages, hidden]}, float32, not normalised
   * @param scale what the gradients by the sums are multiplied with
   */
  Differentiated differentiate(Tensor queries, Tensor passages, Targets targets, Scale scale) {
    try (TensorScope scope = new TensorScope()) {
      Tensor q = embeddings(queries);
      Tensor p = embeddings(passages);
      Backward backward =
          new Backward(torch.empty_like(q), torch.zeros_like(p), scale.times(1 / temperature));
      Sums sums = losses(q, p, targets, backward);
      throughNorm(queries, q, backward.queries());
      throughNorm(passages, p, backward.passages());
      return new Differentiated(
          sums, scope.keep(backward.queries()), scope.keep(backward.passages()));
    }
  }

  /** Returns the embeddings that scores are made of, in the innermost scope. */
  Tensor embeddings(Tensor raw) {
    if (!normalized) {
      return new Tensor(raw);
    }
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(raw.div(norms(raw)));
    }
  }

  /**
   * Returns the scores {@code q·P / τ}, {@code [queries, passages]}, in the innermost scope.
   *
   * @param queries as {@link #embeddings} returns them
   * @param passages as {@link #embeddings} returns them
   */
  Tensor scores(Tensor queries, Tensor passages) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(queries.mm(passages.t()).div_(new Scalar(temperature)));
    }
  }

  private Sums losses(Tensor q, Tensor p, Targets targets, @Nullable Backward backward) {
    int count = Math.toIntExact(q.size(0));
    int atOnce = (int) Math.max(1, CHUNK / Math.max(1, p.size(0)));
    Sums sums = Sums.ZERO;
    for (int from = 0; from < count; from += atOnce) {
      try (TensorScope scope = new TensorScope()) {
        int some = Math.min(atOnce, count - from);
        sums = sums.plus(losses(q.narrow(0, from, some), p, targets, from, backward));
      }
    }
    return sums;
  }

  private Sums losses(Tensor q, Tensor p, Targets targets, int from, @Nullable Backward backward) {
    int count = Math.toIntExact(q.size(0));
    int[] places = IntStream.range(from, from + count).map(targets::of).toArray();
    Tensor scores = scores(q, p);
    Tensor index = Tensors.ofInts(places, scores).unsqueeze(1);
    // Against the positive's score, so that a small loss is not a difference of large numbers.
    scores.sub_(scores.gather(1, index));
    float[] losses = Tensors.toFloats(torch.log_softmax(scores, 1).gather(1, index).neg());
    float[] notBelow = Tensors.toFloats(scores.ge(new Scalar(0.0)).sum(1));
    Tensor gradient = null;
    if (backward != null) {
      gradient = torch.softmax(scores, 1);
      // Its row sums to 0; the positive's part is not the small rest of a number near 1.
      gradient.scatter_(1, index, new Scalar(0.0));
      Tensor others = gradient.sum(new long[] {1}, true, new ScalarTypeOptional());
      gradient.scatter_(1, index, others.neg());
      gradient.mul_(new Scalar(backward.scale().loss()));
    }
    Scale scale = backward == null ? new Scale(0, 0, 0) : backward.scale();
    double kl = 0;
    if (targets.similarities().isPresent()) {
      kl = targets.similarities().get().divergence(scores, from, index, gradient, scale.kl());
    }
    double scoreKl = 0;
    if (targets.scores().isPresent()) {
      scoreKl = targets.scores().get().divergence(scores, from, index, gradient, scale.scoreKl());
    }
    if (backward != null && gradient != null) {
      backward.queries().narrow(0, from, count).copy_(gradient.mm(p));
      backward.passages().addmm_(gradient.t(), q);
    }
    return new Sums(
        IntStream.range(0, count).mapToDouble(i -> losses[i]).sum(),
        kl,
        scoreKl,
        IntStream.range(0, count).filter(i -> notBelow[i] == 1).count());
  }

  /** Takes the gradient by embeddings of length 1 back to what they were before, in place. */
  private void throughNorm(Tensor raw, Tensor unit, Tensor gradient) {
    if (normalized) {
      Tensor along = gradient.mul(unit).sum(new long[] {1}, true, new ScalarTypeOptional());
      gradient.sub_(unit.mul(along)).div_(norms(raw));
    }
  }

  private static Tensor norms(Tensor raw) {
    return torch
        .linalg_vector_norm(raw, new Scalar(2.0), new long[] {1}, true, new ScalarTypeOptional())
        .clamp_min_(new Scalar(LEAST_NORM));
  }
}
