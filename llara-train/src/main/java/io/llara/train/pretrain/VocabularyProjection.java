package io.llara.train.pretrain;

import static java.math.RoundingMode.CEILING;

import com.google.common.math.LongMath;
import io.llara.Internal;
import io.llara.tensor.Operator;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.model.HeadGradient;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * The linear projection on the vocabulary, {@code W ∈ R^{vocabulary × d}}, which is the language
 * model's head, and the cross-entropy that goes through it: of a token's hidden state, or of an
 * embedding's markers, of whose logits the largest counts.
 *
 * <p>The logits of all rows never exist at once: rows are visited in chunks. The derivative of the
 * loss by the logits, {@code softmax(z) − target}, is written over them before the next chunk
 * comes, for which the derivative of the total loss by each sum, the {@code scale}, has to be known
 * beforehand. Autograd, chunk by chunk, needs 29 to 81 % more time within the same memory, and with
 * as many rows a chunk 10 to 30 % more time and 110 to 500 MiB more memory: it cannot add the
 * weight's gradient to a sum that is there (float32, vocabularies of 32,000 and 49,152, hidden
 * sizes 576 and 2,048, a Zen 5 core).
 *
 * <p>Products are computed in the type of the hidden states, softmax and losses in float32. Losses
 * may be computed by several threads at once while nobody changes the weight.
 */
@Internal
public final class VocabularyProjection {
  /**
   * Products read and repack the whole weight for every chunk; with 400 rows, as many as this makes
   * of a vocabulary of 32,000, that is a seventh of their time.
   */
  public static final long DEFAULT_CHUNK_BYTES = 48 << 20;

  /** A device that multiplies many times as fast wants as many more rows at once. */
  public static final long DEVICE_CHUNK_BYTES = 512 << 20;

  /** Half-precision products have a multiple of so many rows. */
  private static final int HALF_PRECISION_ROWS = 64;

  /** The form that writes into a tensor which is there; it may be the input. */
  private static final Operator SOFTMAX = new Operator("aten::_softmax", "out");

  private final Tensor weight;
  private final long chunkBytes;
  private final long vocabulary;
  private final boolean halfPrecision;

  /**
   * Makes a projection with chunks of {@link #DEFAULT_CHUNK_BYTES}, or, on another device than the
   * processor, of {@link #DEVICE_CHUNK_BYTES}.
   */
  public VocabularyProjection(Tensor weight) {
    this(weight, weight.is_cpu() ? DEFAULT_CHUNK_BYTES : DEVICE_CHUNK_BYTES);
  }

  /**
   * Makes a projection.
   *
   * @param weight {@code [vocabulary, d]}, float32 or bfloat16; stays the caller's, who may change
   *     its values between calls
   * @param chunkBytes what the logits of a chunk, and what is made of them, take at most; one bag
   *     is computed in any case
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

  /**
   * A loss and its gradient by the hidden states.
   *
   * @param sum over the rows or bags, not scaled
   * @param hiddenGradient {@code scale · ∂sum/∂hidden}, in the shape and type of the hidden states
   *     and of the scope that was open at the call
   */
  public record Loss(double sum, Tensor hiddenGradient) {}

  /** Where the gradients go; that of the hidden states is not scaled yet. */
  private record Backward(Tensor hiddenGradient, double scale, HeadGradient head) {}

  /**
   * Computes the loss {@code Σ_b −Σ_i w_bi · log softmax(z_b)[id_bi]} and its gradients, where
   * {@code z_b} is the largest of the logits {@code W h} over the rows of bag b, for each token of
   * the vocabulary by itself. The gradient of a maximum goes to the first row that attains it.
   *
   * @param hidden {@code [bags · k, d]} in the weight's type, the rows of a bag adjacent
   * @param k rows a bag: 1 for the next-token loss, as many as an embedding has markers for its own
   * @param bags none of them empty
   * @param scale the derivative of the total loss by this sum
   * @param head takes the gradient of the weight
   * @throws IllegalArgumentException if sizes differ, a bag is empty or an id is outside the
   *     vocabulary
   */
  public Loss loss(Tensor hidden, int k, List<Bag> bags, double scale, HeadGradient head) {
    if (!Double.isFinite(scale)) {
      throw new IllegalArgumentException("scale is " + scale);
    }
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Tensor gradient = torch.empty_like(hidden);
      double sum = loss(hidden, k, bags, new Backward(gradient, scale, head));
      return new Loss(sum, scope.keep(gradient.mul_(new Scalar(scale))));
    }
  }

  /** Computes the loss of {@link #loss(Tensor, int, List, double, HeadGradient)} alone. */
  public double loss(Tensor hidden, int k, List<Bag> bags) {
    return loss(hidden, k, bags, null);
  }

  private double loss(Tensor hidden, int k, List<Bag> bags, @Nullable Backward backward) {
    check(hidden, k, bags);
    double sum = 0;
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Chunks chunks = new Chunks(bags.size(), k);
      for (int from = 0; from < bags.size(); from += chunks.size) {
        try (TensorScope chunkScope = new TensorScope()) {
          List<Bag> some = bags.subList(from, Math.min(from + chunks.size, bags.size()));
          long first = (long) from * k;
          long count = (long) some.size() * k;
          Tensor rows = padded(hidden.narrow(0, first, count));
          Tensor product = chunks.product(rows);
          sum += loss(chunks.floats(product).narrow(0, 0, count), some, product, backward != null);
          if (backward != null) {
            // A quarter faster than product · weight, where the vocabulary is the inner dimension
            // of a product with few rows.
            Tensor gradient = weight.t().mm(product.t()).t();
            backward.hiddenGradient().narrow(0, first, count).copy_(gradient.narrow(0, 0, count));
            backward.head().add(product, rows.mul(new Scalar(backward.scale())));
          }
        }
      }
    }
    return sum;
  }

  /**
   * Computes the loss of a chunk.
   *
   * @param logits {@code [bags · k, vocabulary]}, float32; overwritten
   * @param product the memory of the logits in the weight's type, with rows of padding; takes the
   *     derivative by the logits, if that is wanted
   */
  private double loss(Tensor logits, List<Bag> bags, Tensor product, boolean differentiate) {
    long k = logits.size(0) / bags.size();
    Tensor largest = logits;
    @Nullable Tensor winners = null;
    if (k > 1) {
      T_TensorTensor_T maximum = logits.view(bags.size(), k, vocabulary).max(1);
      largest = maximum.get0();
      winners = maximum.get1();
    }
    int[] places = places(bags);
    Tensor index = Tensors.ofInts(places, logits);
    Tensor flat = largest.view(-1);
    float[] ofTargets = Tensors.toFloats(Tensors.rows(flat, index));
    double[] logSumExp = softmaxInPlace(largest);
    double sum = 0;
    float[] weights = new float[places.length];
    int next = 0;
    for (int b = 0; b < bags.size(); b++) {
      double loss = logSumExp[b];
      for (int i = 0; i < bags.get(b).size(); i++, next++) {
        double ofTarget = bags.get(b).weight(i);
        loss -= ofTarget * ofTargets[next];
        weights[next] = (float) ofTarget;
      }
      sum += loss;
    }
    if (differentiate) {
      Tensor ofBags = Tensors.placed(Tensors.ofFloats(weights, weights.length), logits);
      flat.index_add_(0, index, ofBags, new Scalar(-1.0));
      long rows = logits.size(0);
      Tensor gradient = product.narrow(0, 0, rows);
      if (winners != null) {
        product.zero_();
        gradient
            .view(bags.size(), k, vocabulary)
            .scatter_(1, winners.unsqueeze(1), largest.to(product.scalar_type()).unsqueeze(1));
      } else if (halfPrecision) {
        gradient.copy_(largest);
        product.narrow(0, rows, product.size(0) - rows).zero_();
      }
    }
    return sum;
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

  /** The memory that all chunks of a loss share. */
  private final class Chunks {
    /** Bags a chunk. */
    final int size;

    private final Tensor products;
    private final @Nullable Tensor floats;

    Chunks(int bags, int k) {
      long bytesEach = (halfPrecision ? 6L : 4L) * k; // For each token of the vocabulary.
      if (k > 1) {
        bytesEach += Float.BYTES + Long.BYTES; // The largest logit and whose it is.
      }
      // Places within a chunk's logits are ints.
      long logits = Math.min(chunkBytes / bytesEach, Integer.MAX_VALUE / k);
      long most = Math.max(1, logits / vocabulary);
      // Of one size, so that the last does not read the weight for a handful of rows.
      long chunks = Math.max(1, LongMath.divide(bags, most, CEILING));
      size = (int) LongMath.divide(bags, chunks, CEILING);
      long[] shape = {paddedRows((long) size * k), vocabulary};
      products = Tensors.empty(weight.scalar_type(), weight, shape);
      floats = halfPrecision ? Tensors.empty(ScalarType.Float, weight, shape) : null;
    }

    /** Returns the logits of some rows in the weight's type. */
    Tensor product(Tensor rows) {
      Tensor product = products.narrow(0, 0, rows.size(0));
      torch.mm_out(product, rows, weight.t());
      return product;
    }

    /** Returns the logits in float32: the product itself where it is that. */
    Tensor floats(Tensor product) {
      return floats == null ? product : floats.narrow(0, 0, product.size(0)).copy_(product);
    }
  }

  private void check(Tensor hidden, int k, List<Bag> bags) {
    if (k <= 0) {
      throw new IllegalArgumentException("k is " + k);
    }
    int rows = Math.multiplyExact(bags.size(), k);
    if (hidden.dim() != 2 || hidden.size(0) != rows || hidden.size(1) != weight.size(1)) {
      throw new IllegalArgumentException(
          "hidden states are %s; expected [%d, %d]".formatted(shape(hidden), rows, weight.size(1)));
    }
    if (hidden.scalar_type().intern() != weight.scalar_type().intern()) {
      throw new IllegalArgumentException(
          "hidden states are %s, the weight %s"
              .formatted(hidden.scalar_type(), weight.scalar_type()));
    }
    for (Bag bag : bags) {
      if (bag.isEmpty()) {
        throw new IllegalArgumentException("a bag is empty");
      }
      // They ascend.
      check(bag.id(0));
      check(bag.id(bag.size() - 1));
    }
  }

  private void check(int id) {
    if (id < 0 || id >= vocabulary) {
      throw new IllegalArgumentException(
          "id %d is outside the vocabulary of %d".formatted(id, vocabulary));
    }
  }

  private static String shape(Tensor tensor) {
    return Arrays.toString(tensor.shape());
  }
}
