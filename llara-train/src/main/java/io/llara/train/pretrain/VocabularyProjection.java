package io.llara.train.pretrain;

import static java.math.RoundingMode.CEILING;

import com.google.common.math.LongMath;
import io.llara.Internal;
import io.llara.tensor.Operator;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * The linear projection on the vocabulary, {@code W ∈ R^{vocabulary × d}}, which is the language
 * model's head, and the losses that go through it.
 *
 * <p>The logits of all rows never exist at once: rows are visited in chunks. What a loss asks of
 * the logits, {@code softmax(z) − target}, is written over them before the next chunk comes. For
 * that the derivative of the total loss by each term, the {@code scale}, has to be known
 * beforehand.
 *
 * <p>Products are computed in the type of the hidden states, softmax and losses in float32. Nothing
 * is recorded. Losses may be computed by several threads at once while nobody changes the weight.
 */
@Internal
public final class VocabularyProjection {
  /**
   * Products read and repack the whole weight for every chunk; with 400 rows, as many as this makes
   * of a vocabulary of 32,000, that is a seventh of their time.
   */
  public static final long DEFAULT_CHUNK_BYTES = 48 << 20;

  /** Half-precision products have a multiple of so many rows. */
  private static final int HALF_PRECISION_ROWS = 64;

  /** The form that writes into a tensor which is there; it may be the input. */
  private static final Operator SOFTMAX = new Operator("aten::_softmax", "out");

  private final Tensor weight;
  private final long chunkBytes;
  private final long vocabulary;
  private final boolean halfPrecision;

  /**
   * Makes a projection with chunks of {@link #DEFAULT_CHUNK_BYTES}.
   *
   * @param weight {@code [vocabulary, d]}, float32 or bfloat16; stays the caller's, who may change
   *     its values between calls
   */
  public VocabularyProjection(Tensor weight) {
    this(weight, DEFAULT_CHUNK_BYTES);
  }

  /**
   * Makes a projection.
   *
   * @param weight {@code [vocabulary, d]}, float32 or bfloat16; stays the caller's, who may change
   *     its values between calls
   * @param chunkBytes what the logits of a chunk, and what is made of them, take at most; one row
   *     or bag is computed in any case
   */
  public VocabularyProjection(Tensor weight, long chunkBytes) {
    if (weight.dim() != 2) {
      throw new IllegalArgumentException("weight is %s, not a matrix".formatted(shape(weight)));
    }
    if (chunkBytes <= 0) {
      throw new IllegalArgumentException("chunkBytes is " + chunkBytes);
    }
    this.weight = weight;
    this.chunkBytes = chunkBytes;
    this.vocabulary = weight.size(0);
    ScalarType type = weight.scalar_type().intern();
    if (type != ScalarType.Float && type != ScalarType.BFloat16) {
      throw new IllegalArgumentException("weight is %s, not float32 or bfloat16".formatted(type));
    }
    this.halfPrecision = type == ScalarType.BFloat16;
  }

  /** What is wanted beside the loss. */
  private record Backward(Tensor hiddenGradient, double scale, HeadGradient head) {}

  /**
   * Computes the next-token loss {@code Σ_i −log softmax(W h_i)[target_i]} and its gradients.
   *
   * @param hidden {@code [n, d]} in the weight's type
   * @param targets the id that each row is to predict
   * @param scale the derivative of the total loss by this sum
   * @throws IllegalArgumentException if sizes differ or an id is outside the vocabulary
   */
  public Loss nextToken(Tensor hidden, int[] targets, double scale, HeadGradient head) {
    return withGradients(hidden, scale, head, backward -> nextToken(hidden, targets, backward));
  }

  /** Computes the loss of {@link #nextToken(Tensor, int[], double, HeadGradient)} alone. */
  public double nextTokenLoss(Tensor hidden, int[] targets) {
    return nextToken(hidden, targets, null);
  }

  /**
   * Computes the loss {@code Σ_b −Σ_i w_bi · log softmax(z_b)[id_bi]} of bags and its gradients,
   * where {@code z_b} is the largest of the logits {@code W h} over the bag's markers, for each
   * token by itself. The gradient of a maximum goes to the first marker that attains it.
   *
   * @param markers {@code [bags · k, d]} in the weight's type, the k markers of a bag adjacent
   * @param k markers a bag
   * @param bags none of them empty
   * @param scale the derivative of the total loss by this sum
   * @throws IllegalArgumentException if sizes differ, a bag is empty or an id is outside the
   *     vocabulary
   */
  public Loss bags(Tensor markers, int k, List<Bag> bags, double scale, HeadGradient head) {
    return withGradients(markers, scale, head, backward -> bags(markers, k, bags, backward));
  }

  /** Computes the loss of {@link #bags(Tensor, int, List, double, HeadGradient)} alone. */
  public double bagsLoss(Tensor markers, int k, List<Bag> bags) {
    return bags(markers, k, bags, null);
  }

  private interface Visit {
    double run(Backward backward);
  }

  private static Loss withGradients(Tensor hidden, double scale, HeadGradient head, Visit visit) {
    if (!Double.isFinite(scale)) {
      throw new IllegalArgumentException("scale is " + scale);
    }
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Tensor gradient = torch.empty(hidden.sizes(), new TensorOptions(hidden.scalar_type()), null);
      double sum = visit.run(new Backward(gradient, scale, head));
      return new Loss(sum, scope.keep(gradient.mul_(new Scalar(scale))));
    }
  }

  private double nextToken(Tensor hidden, int[] targets, @Nullable Backward backward) {
    check(hidden, targets.length);
    for (int target : targets) {
      check(target);
    }
    double sum = 0;
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Chunks chunks = new Chunks(targets.length, 1);
      for (int from = 0; from < targets.length; from += chunks.size) {
        try (TensorScope chunkScope = new TensorScope()) {
          int count = Math.min(chunks.size, targets.length - from);
          Tensor rows = padded(hidden.narrow(0, from, count));
          Tensor product = chunks.product(rows);
          Tensor logits = chunks.floats(product).narrow(0, 0, count);
          Tensor index =
              Tensors.ofInts(Arrays.copyOfRange(targets, from, from + count)).unsqueeze(1);
          float[] ofTargets = Tensors.toFloats(logits.gather(1, index));
          double[] logSumExp = softmaxInPlace(logits);
          for (int i = 0; i < count; i++) {
            sum += logSumExp[i] - ofTargets[i];
          }
          if (backward != null) {
            logits.scatter_add_(1, index, torch.full(new long[] {count, 1}, new Scalar(-1.0)));
            if (halfPrecision) {
              narrowed(product, logits);
            }
            hand(product, rows, from, count, backward);
          }
        }
      }
    }
    return sum;
  }

  private double bags(Tensor markers, int k, List<Bag> bags, @Nullable Backward backward) {
    if (k <= 0) {
      throw new IllegalArgumentException("k is " + k);
    }
    check(markers, Math.multiplyExact(bags.size(), k));
    bags.forEach(this::check);
    double sum = 0;
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Chunks chunks = new Chunks(bags.size(), k);
      for (int from = 0; from < bags.size(); from += chunks.size) {
        try (TensorScope chunkScope = new TensorScope()) {
          List<Bag> some = bags.subList(from, Math.min(from + chunks.size, bags.size()));
          Tensor rows = padded(markers.narrow(0, (long) from * k, (long) some.size() * k));
          Tensor product = chunks.product(rows);
          sum += bags(product, rows, from * k, k, some, chunks, backward);
        }
      }
    }
    return sum;
  }

  private double bags(
      Tensor product,
      Tensor rows,
      long from,
      int k,
      List<Bag> bags,
      Chunks chunks,
      @Nullable Backward backward) {
    int count = bags.size() * k;
    Tensor logits = chunks.floats(product).narrow(0, 0, count);
    @Nullable Tensor winners = null;
    if (k > 1) {
      T_TensorTensor_T largest = logits.view(bags.size(), k, vocabulary).max(1);
      logits = largest.get0();
      winners = largest.get1();
    }
    int[] places = places(bags);
    Tensor index = Tensors.ofInts(places);
    Tensor flat = logits.view(-1);
    float[] ofTargets = Tensors.toFloats(flat.index_select(0, index));
    double[] logSumExp = softmaxInPlace(logits);
    double sum = 0;
    float[] weights = new float[places.length];
    int next = 0;
    for (int b = 0; b < bags.size(); b++) {
      Bag bag = bags.get(b);
      sum += logSumExp[b];
      for (int i = 0; i < bag.size(); i++, next++) {
        sum -= bag.weight(i) * ofTargets[next];
        weights[next] = (float) bag.weight(i);
      }
    }
    if (backward != null) {
      flat.index_add_(0, index, Tensors.ofFloats(weights, weights.length), new Scalar(-1.0));
      if (winners != null) {
        product
            .zero_()
            .narrow(0, 0, count)
            .view(bags.size(), k, vocabulary)
            .scatter_(1, winners.unsqueeze(1), logits.to(product.scalar_type()).unsqueeze(1));
      } else if (halfPrecision) {
        narrowed(product, logits);
      }
      hand(product, rows, from, count, backward);
    }
    return sum;
  }

  /**
   * Fills half-precision rows up with zeros: oneDNN compiles a product for each number of rows that
   * it meets, and keeps it.
   */
  private Tensor padded(Tensor rows) {
    long missing = paddedRows(rows.size(0)) - rows.size(0);
    return missing == 0 ? rows : torch.constant_pad_nd(rows, new long[] {0, 0, 0, missing});
  }

  private long paddedRows(long rows) {
    return halfPrecision
        ? LongMath.divide(rows, HALF_PRECISION_ROWS, CEILING) * HALF_PRECISION_ROWS
        : rows;
  }

  /** Puts a gradient in float32 where the logits were; rows of padding have none. */
  private static void narrowed(Tensor product, Tensor gradient) {
    long rows = gradient.size(0);
    product.narrow(0, 0, rows).copy_(gradient);
    product.narrow(0, rows, product.size(0) - rows).zero_();
  }

  /** Returns where the bags' ids lie in their logits, row after row. */
  private int[] places(List<Bag> bags) {
    int[] places = new int[bags.stream().mapToInt(Bag::size).sum()];
    int next = 0;
    for (int b = 0; b < bags.size(); b++) {
      for (int i = 0; i < bags.get(b).size(); i++) {
        places[next++] = b * (int) vocabulary + bags.get(b).id(i);
      }
    }
    return places;
  }

  /** Takes a chunk's gradient back to the hidden states and to the weight. */
  private void hand(Tensor logitsGradient, Tensor rows, long from, long count, Backward backward) {
    // A quarter faster than logitsGradient · weight, where the vocabulary is the inner dimension of
    // a product with few rows.
    Tensor transposed = weight.t().mm(logitsGradient.t());
    backward.hiddenGradient().narrow(0, from, count).copy_(transposed.t().narrow(0, 0, count));
    backward.head().add(logitsGradient, rows.mul(new Scalar(backward.scale())));
  }

  /**
   * Replaces logits by probabilities and returns the logarithm of each row's sum of exponentials.
   * The largest probability is that of the largest logit and never too small for a logarithm.
   */
  private static double[] softmaxInPlace(Tensor logits) {
    float[] largest = Tensors.toFloats(logits.amax(new long[] {1}, false));
    SOFTMAX.call(new IValue(logits), new IValue(1L), new IValue(false), new IValue(logits));
    float[] probability = Tensors.toFloats(logits.amax(new long[] {1}, false));
    double[] logSumExp = new double[largest.length];
    for (int i = 0; i < logSumExp.length; i++) {
      logSumExp[i] = largest[i] - Math.log(probability[i]);
    }
    return logSumExp;
  }

  /** The memory that all chunks of a visit share. */
  private final class Chunks {
    /** Rows or bags a chunk. */
    final int size;

    private final Tensor products;
    private final @Nullable Tensor floats;

    Chunks(int count, int rowsEach) {
      long bytesEach = (halfPrecision ? 6L : 4L) * rowsEach; // For each token of the vocabulary.
      if (rowsEach > 1) {
        bytesEach += Float.BYTES + Long.BYTES; // The largest logit and whose it is.
      }
      // Places within a chunk's logits are ints.
      long logits = Math.min(chunkBytes / bytesEach, Integer.MAX_VALUE / rowsEach);
      long most = Math.max(1, logits / vocabulary);
      // Of one size, so that the last does not read the weight for a handful of rows.
      size =
          (int) LongMath.divide(count, Math.max(1, LongMath.divide(count, most, CEILING)), CEILING);
      long[] shape = {paddedRows((long) size * rowsEach), vocabulary};
      products = torch.empty(shape, new TensorOptions(weight.scalar_type()), null);
      floats = halfPrecision ? torch.empty(shape, new TensorOptions(ScalarType.Float), null) : null;
    }

    /** Returns the logits of some rows in the weight's type. */
    Tensor product(Tensor rows) {
      Tensor product = products.narrow(0, 0, rows.size(0));
      torch.mm_out(product, rows, weight.t());
      return product;
    }

    /** Returns what is to become the float32 logits: the product itself where it is that. */
    Tensor floats(Tensor product) {
      return floats == null ? product : floats.narrow(0, 0, product.size(0)).copy_(product);
    }
  }

  private void check(Tensor hidden, int rows) {
    if (hidden.dim() != 2 || hidden.size(0) != rows || hidden.size(1) != weight.size(1)) {
      throw new IllegalArgumentException(
          "hidden states are %s; expected [%d, %d]".formatted(shape(hidden), rows, weight.size(1)));
    }
    if (hidden.scalar_type().intern() != weight.scalar_type().intern()) {
      throw new IllegalArgumentException(
          "hidden states are %s, the weight %s"
              .formatted(hidden.scalar_type(), weight.scalar_type()));
    }
  }

  private static String shape(Tensor tensor) {
    return LongStream.range(0, tensor.dim()).map(tensor::size).boxed().toList().toString();
  }

  private void check(Bag bag) {
    if (bag.isEmpty()) {
      throw new IllegalArgumentException("a bag is empty");
    }
    for (int i = 0; i < bag.size(); i++) {
      check(bag.id(i));
    }
  }

  private void check(int id) {
    if (id < 0 || id >= vocabulary) {
      throw new IllegalArgumentException(
          "id %d is outside the vocabulary of %d".formatted(id, vocabulary));
    }
  }
}
