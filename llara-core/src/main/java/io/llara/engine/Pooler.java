package io.llara.engine;

import io.llara.prompt.Prompt;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What becomes of the final hidden states of a prompt. Which tokens are pooled was decided when the
 * prompt was made ({@link io.llara.prompt.Pooling}); how, is decided here.
 */
interface Pooler<T> {
  /** The mean over the pooled tokens of each mode, summed in float64. */
  Pooler<PooledVectors> MEAN = new Mean();

  /** The hidden states of all tokens, {@code [prompt.length(), hidden]}. */
  Pooler<float[]> NONE = new None();

  /** Returns the tokens of a prompt whose hidden states are needed, ascending. */
  IntStream tokens(Prompt prompt);

  /**
   * Pools the hidden states of those tokens.
   *
   * @param states the hidden states of a batch, {@code [rows, hidden]} row-major
   * @param begin the index in {@code states} of the prompt's first one
   */
  T pool(Prompt prompt, float[] states, int begin, int hidden);

  /** See {@link #MEAN}. */
  final class Mean implements Pooler<PooledVectors> {
    @Override
    public IntStream tokens(Prompt prompt) {
      return IntStream.concat(prompt.pooledSelf().stream(), prompt.pooledNext().stream());
    }

    @Override
    public PooledVectors pool(Prompt prompt, float[] states, int begin, int hidden) {
      int self = prompt.pooledSelf().length();
      int next = prompt.pooledNext().length();
      return new PooledVectors(
          mean(states, begin, self, hidden), mean(states, begin + self * hidden, next, hidden));
    }

    private static float @Nullable [] mean(float[] states, int begin, int rows, int hidden) {
      if (rows == 0) {
        return null;
      }
      float[] mean = new float[hidden];
      for (int column = 0; column < hidden; column++) {
        double sum = 0;
        for (int row = 0; row < rows; row++) {
          sum += states[begin + row * hidden + column];
        }
        mean[column] = (float) (sum / rows);
      }
      return mean;
    }
  }

  /** See {@link #NONE}. */
  final class None implements Pooler<float[]> {
    @Override
    public IntStream tokens(Prompt prompt) {
      return IntStream.range(0, prompt.length());
    }

    @Override
    public float[] pool(Prompt prompt, float[] states, int begin, int hidden) {
      return Arrays.copyOfRange(states, begin, begin + prompt.length() * hidden);
    }
  }
}
