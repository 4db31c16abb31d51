package io.llara.train.lora;

import io.llara.Internal;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.Generator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Dropout (JMLR 15, 2014) whose random numbers are a function of what is being computed, not of
 * what was computed before: of a key for the pass, set by the thread that runs it, and of the
 * place. A layer that is run again drops the same elements, lanes do not disturb each other, and
 * nothing has to be saved to resume.
 *
 * <p>Thread-safe.
 */
@Internal
public final class Dropout {
  private final double probability;
  private final ThreadLocal<Long> key = new ThreadLocal<>();

  /** Drops each element with a probability in [0, 1). */
  public Dropout(double probability) {
    this.probability = probability;
  }

  /** Sets the key of this thread's random numbers, until {@link #stop}. */
  public void start(long passKey) {
    key.set(passKey);
  }

  /** Ends dropout on this thread. */
  public void stop() {
    key.remove();
  }

  /**
   * Returns {@code x} with elements dropped and the others scaled up, or {@code x} itself outside
   * of training.
   *
   * @param place tells apart the places where one pass drops
   */
  Tensor apply(Tensor x, int place) {
    Long passKey = key.get();
    if (probability == 0 || passKey == null) {
      return x;
    }
    try (TensorScope scope = new TensorScope()) {
      Tensor kept =
          torch
              .empty_like(x.detach())
              .bernoulli_(1 - probability, generator(x, mix(mix(passKey) + place)))
              .mul_(new Scalar(1 / (1 - probability)));
      return scope.keep(x.mul(kept));
    }
  }

  /** Returns a generator of its own on the device of a tensor; each kind of them draws others. */
  private static GeneratorOptional generator(Tensor beside, long seed) {
    if (beside.is_meta()) {
      return new GeneratorOptional(); // Nothing is drawn.
    }
    // A copy: that one is everybody's.
    Generator generator = torch.globalContext().defaultGenerator(beside.device()).clone();
    generator.set_current_seed(seed);
    return new GeneratorOptional(generator);
  }

  /** The finaliser of SplitMix64: neighbouring keys give unrelated seeds. */
  public static long mix(long value) {
    long z = value + 0x9e3779b97f4a7c15L;
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return z ^ (z >>> 31);
  }
}
