package io.llara.attention;

import com.google.common.math.IntMath;
import io.llara.Mode;
import io.llara.prompt.TokenRange;
import java.util.Arrays;

/**
 * A padded batch in the form that other engines take: flat row-major arrays, ids and positions as
 * the 64-bit integers of most exported graphs. Immutable and thread-safe; each call returns a new
 * array.
 *
 * <pre>{@code
 * PaddedBatch batch = PaddedBatch.of(AttentionMaskFactory.create(prompts, Layout.rightPadded(8)));
 * long[] shape = {batch.sequences(), batch.width()};
 * OnnxTensor ids = OnnxTensor.createTensor(environment, LongBuffer.wrap(batch.ids()), shape);
 * }</pre>
 */
public final class PaddedBatch {
  private final AttentionMask mask;
  private final int width;

  private PaddedBatch(AttentionMask mask, int width) {
    this.mask = mask;
    this.width = width;
  }

  /**
   * Returns the batch of a mask.
   *
   * @throws IllegalArgumentException if its prompts take different numbers of rows: choose a padded
   *     {@link Layout}
   */
  public static PaddedBatch of(AttentionMask mask) {
    int width = mask.sequenceEnd(0);
    for (int i = 0; i < mask.sequences(); i++) {
      int rows = mask.sequenceEnd(i) - mask.sequenceBegin(i);
      if (rows != width) {
        throw new IllegalArgumentException(
            "prompt %d takes %d rows and prompt 0 %d: a padded layout gives all the same"
                .formatted(i, rows, width));
      }
    }
    return new PaddedBatch(mask, width);
  }

  /** Returns the number of prompts. */
  public int sequences() {
    return mask.sequences();
  }

  /** Returns the number of columns, padding included. */
  public int width() {
    return width;
  }

  /** Returns the token ids {@code [sequences, width]}, the pad id where there is padding. */
  public long[] ids() {
    return longs(mask.rowIds());
  }

  /** Returns the positions {@code [sequences, width]}, for the rotary embedding. */
  public long[] positions() {
    return longs(mask.positions());
  }

  /**
   * Returns {@code [sequences, width]}: 1 for a token, 0 for padding. It is all that a causal model
   * needs for prompts of one mode. Joint prompts need {@link #additive}: the NEXT suffix would see
   * the SELF suffix.
   */
  public long[] tokens() {
    long[] tokens = new long[mask.rows()];
    for (int i = 0; i < mask.sequences(); i++) {
      Arrays.fill(tokens, mask.tokens(i).begin(), mask.tokens(i).end(), 1);
    }
    return tokens;
  }

  /**
   * Returns what is added to the attention scores {@code [sequences, 1, width, width]}: 0 where a
   * query (third axis) may attend to a key (fourth), {@code blocked} elsewhere.
   *
   * @param blocked {@link Float#NEGATIVE_INFINITY} where a kernel copes with rows of padding, which
   *     see nothing and whose softmax is then NaN; else the least value of the type computed in,
   *     {@code -Float.MAX_VALUE} for float32 and bfloat16, -65504 for float16
   * @throws IllegalArgumentException if {@code blocked} is not negative
   * @throws ArithmeticException if the array would have more than 2<sup>31</sup> - 1 values
   */
  public float[] additive(float blocked) {
    if (!(blocked < 0)) {
      throw new IllegalArgumentException("what is blocked needs a negative value, not " + blocked);
    }
    float[] values = new float[IntMath.checkedMultiply(mask.rows(), width)];
    int next = 0;
    for (int sequence = 0; sequence < mask.sequences(); sequence++) {
      for (boolean[] query : mask.dense(sequence)) {
        for (boolean visible : query) {
          values[next++] = visible ? 0 : blocked;
        }
      }
    }
    return values;
  }

  /**
   * Returns the columns whose hidden states make the embedding of a mode in a prompt; empty if
   * there is none.
   */
  public TokenRange pooled(int sequence, Mode mode) {
    TokenRange rows = mask.pooled(sequence, mode);
    int begin = mask.sequenceBegin(sequence);
    return new TokenRange(rows.begin() - begin, rows.end() - begin);
  }

  private static long[] longs(int[] values) {
    return Arrays.stream(values).asLongStream().toArray();
  }
}
