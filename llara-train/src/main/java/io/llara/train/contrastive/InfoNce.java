package io.llara.train.contrastive;

import io.llara.Internal;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
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
   * @param hits how many have their positive above every other passage
   */
  record Sums(double loss, long hits) {
    static final Sums ZERO = new Sums(0, 0);

    Sums plus(Sums other) {
      return new Sums(loss + other.loss, hits + other.hits);
    }
  }

  /**
   * Where positives stand among the passages: that of query {@code i} is {@code first + i · group}.
   */
  record Targets(int first, int group) {
    int of(int query) {
      return first + query * group;
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

  /** Where the gradients by embeddings go, and what the scores' own is multiplied with. */
  private record Backward(Tensor queries, Tensor passages, double scale) {}

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
   * @param scale the derivative of the loss by the sum
   */
  Differentiated differentiate(Tensor queries, Tensor passages, Targets targets, double scale) {
    try (TensorScope scope = new TensorScope()) {
      Tensor q = embeddings(queries);
      Tensor p = embeddings(passages);
      Backward backward =
          new Backward(torch.empty_like(q), torch.zeros_like(p), scale / temperature);
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
        int[] places = IntStream.range(from, from + some).map(targets::of).toArray();
        sums = sums.plus(losses(q.narrow(0, from, some), p, places, from, backward));
      }
    }
    return sums;
  }

  private Sums losses(Tensor q, Tensor p, int[] places, long from, @Nullable Backward backward) {
    Tensor scores = scores(q, p);
    Tensor index = Tensors.ofInts(places).unsqueeze(1);
    // Against the positive's score, so that a small loss is not a difference of large numbers.
    scores.sub_(scores.gather(1, index));
    float[] losses = Tensors.toFloats(scores.logsumexp(new long[] {1}, false));
    float[] notBelow = Tensors.toFloats(scores.ge(new Scalar(0.0)).sum(1));
    Sums sums =
        new Sums(
            IntStream.range(0, losses.length).mapToDouble(i -> losses[i]).sum(),
            IntStream.range(0, losses.length).filter(i -> notBelow[i] == 1).count());
    if (backward != null) {
      Tensor gradient = torch.softmax(scores, 1);
      // Its row sums to 0; the positive's part is not the small rest of a number near 1.
      gradient.scatter_(1, index, new Scalar(0.0));
      Tensor others = gradient.sum(new long[] {1}, true, new ScalarTypeOptional());
      gradient.scatter_(1, index, others.neg());
      gradient.mul_(new Scalar(backward.scale()));
      backward.queries().narrow(0, from, places.length).copy_(gradient.mm(p));
      backward.passages().addmm_(gradient.t(), q);
    }
    return sums;
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
