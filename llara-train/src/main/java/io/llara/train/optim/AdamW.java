package io.llara.train.optim;

import io.llara.LlaraException;
import io.llara.tensor.Operator;
import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.bytedeco.pytorch.GenericList;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * AdamW (Loshchilov and Hutter, arXiv 1711.05101) as torch computes it: with bias correction, and
 * with weight decay taken off every parameter before the update instead of added to its gradient.
 *
 * <pre>
 * p ← p − lr · wd · p
 * m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
 * p ← p − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
 * </pre>
 *
 * <p>Parameters are float32, contiguous, and the caller's; they may ask for gradients. The moments
 * are this object's and as large as the parameters twice over. An update is the same to the bit
 * whatever the number of threads. Not thread-safe, and bound to no thread.
 */
public final class AdamW implements AutoCloseable {
  /**
   * One pass over parameter, gradient and both moments. The CPU kernel walks bare memory in the
   * order of the parameter, so everything it gets must be contiguous and of one type.
   */
  private static final Operator FUSED = new Operator("aten::_fused_adamw_", "");

  private static final String FIRST = "exp_avg/";
  private static final String SECOND = "exp_avg_sq/";

  private final Settings settings;
  private final List<Tensor> parameters;
  private final List<Tensor> firstMoments = new ArrayList<>();
  private final List<Tensor> secondMoments = new ArrayList<>();
  private long steps;
  private boolean closed;

  /**
   * What stays the same over a run.
   *
   * @param beta1 how much of the mean of the gradients is kept each step, in {@code [0, 1)}
   * @param beta2 how much of the mean of their squares is kept, in {@code [0, 1)}
   * @param eps added to the denominator, 0 or more
   * @param weightDecay the share of a parameter taken off, times the learning rate; 0 or more
   */
  public record Settings(double beta1, double beta2, double eps, double weightDecay) {
    /** torch's defaults, but without weight decay. */
    public static final Settings DEFAULT = new Settings(0.9, 0.999, 1e-8, 0);

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if one is out of range
     */
    public Settings {
      requireShare("beta1", beta1);
      requireShare("beta2", beta2);
      requireNotNegative("eps", eps);
      requireNotNegative("weight decay", weightDecay);
    }

    private static void requireShare(String name, double value) {
      if (!(value >= 0 && value < 1)) {
        throw new IllegalArgumentException(name + " is " + value + "; expected 0 <= value < 1");
      }
    }
  }

  /**
   * Creates an optimiser that has not stepped yet.
   *
   * @throws IllegalArgumentException if there are no parameters, or one is not contiguous float32
   */
  public AdamW(List<Tensor> parameters, Settings settings) {
    if (parameters.isEmpty()) {
      throw new IllegalArgumentException("there are no parameters to train");
    }
    this.parameters = List.copyOf(parameters);
    this.settings = settings;
    try (TensorScope scope = new TensorScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      for (Tensor parameter : this.parameters) {
        int index = firstMoments.size();
        requireFloats(parameter, "parameter", index);
        if (!parameter.is_contiguous()) {
          throw new IllegalArgumentException("parameter %d is not contiguous".formatted(index));
        }
        firstMoments.add(scope.own(torch.zeros_like(parameter)));
        secondMoments.add(scope.own(torch.zeros_like(parameter)));
      }
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /**
   * Moves the parameters against the gradients.
   *
   * @param gradients one for each parameter, float32, of its shape; not changed
   * @throws IllegalArgumentException if a gradient is missing or does not fit, or the rate is
   *     negative or not finite; nothing has moved then
   * @throws IllegalStateException if closed
   */
  public void step(List<Tensor> gradients, double learningRate) {
    requireOpen();
    requireNotNegative("learning rate", learningRate);
    if (gradients.size() != parameters.size()) {
      throw new IllegalArgumentException(
          "there are %d gradients for %d parameters"
              .formatted(gradients.size(), parameters.size()));
    }
    try (TensorScope scope = new TensorScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      List<Tensor> contiguous = new ArrayList<>(gradients.size());
      for (Tensor gradient : gradients) {
        int index = contiguous.size();
        requireFloats(gradient, "gradient", index);
        requireShape(gradient, index);
        contiguous.add(gradient.contiguous());
      }
      steps++;
      // One count serves all: the kernel only reads it.
      Tensor count =
          torch.full(new long[0], new Scalar((double) steps), parameters.get(0).options());
      FUSED.run(
          list(parameters),
          list(contiguous),
          list(firstMoments),
          list(secondMoments),
          list(List.of()), // maxima of the second moments: AMSGrad's
          list(Collections.nCopies(parameters.size(), count)),
          new IValue(learningRate),
          new IValue(settings.beta1()),
          new IValue(settings.beta2()),
          new IValue(settings.weightDecay()),
          new IValue(settings.eps()),
          new IValue(false), // AMSGrad
          new IValue(false), // maximise
          new IValue(), // scale of the gradients
          new IValue()); // whether an infinity was found
    }
  }

  /** Makes a list of tensors as an argument, in the caller's innermost scope. */
  private static IValue list(List<Tensor> tensors) {
    IValue list = FUSED.emptyList(0);
    try (TensorScope scope = new TensorScope()) {
      GenericList elements = list.toList(); // The same list, not a copy.
      elements.reserve(tensors.size());
      tensors.forEach(tensor -> elements.push_back(new IValue(tensor)));
    }
    return list;
  }

  /** Returns the number of steps, those of earlier runs included. */
  public long steps() {
    return steps;
  }

  /**
   * Returns the moments by name: {@code exp_avg/NAME} and {@code exp_avg_sq/NAME}. They stay this
   * object's and change with every step.
   *
   * @param names the name of each parameter, in their order
   * @throws IllegalArgumentException if there are more or fewer names than parameters
   * @throws IllegalStateException if closed
   */
  public Map<String, Tensor> state(List<String> names) {
    requireOpen();
    if (names.size() != parameters.size()) {
      throw new IllegalArgumentException(
          "there are %d names for %d parameters".formatted(names.size(), parameters.size()));
    }
    Map<String, Tensor> state = new LinkedHashMap<>();
    for (int i = 0; i < names.size(); i++) {
      state.put(FIRST + names.get(i), firstMoments.get(i));
      state.put(SECOND + names.get(i), secondMoments.get(i));
    }
    if (state.size() != 2 * names.size()) {
      throw new IllegalArgumentException("two parameters have the same name");
    }
    return state;
  }

  /**
   * Restores the state of another optimiser.
   *
   * @param steps how many steps that one had made
   * @param names the name of each parameter, in their order
   * @param load gives a tensor of {@link #state} by its name; this method closes it
   * @throws LlaraException if a tensor does not have its parameter's shape, or is not float32
   * @throws IllegalStateException if closed
   */
  public void restore(long steps, List<String> names, Function<String, Tensor> load) {
    if (steps < 0) {
      throw new IllegalArgumentException("steps is " + steps + "; expected 0 or more");
    }
    int index = 0;
    for (Map.Entry<String, Tensor> entry : state(names).entrySet()) {
      long[] shape = parameters.get(index++ / 2).shape();
      try (TensorScope scope = new TensorScope();
          NoGradGuard noGrad = new NoGradGuard()) {
        Tensor loaded = load.apply(entry.getKey());
        try {
          long[] found = loaded.shape();
          ScalarType type = loaded.scalar_type().intern();
          if (type != ScalarType.Float || !Arrays.equals(found, shape)) {
            throw new LlaraException(
                "optimiser state %s is %s %s; expected Float %s"
                    .formatted(
                        entry.getKey(), type, Arrays.toString(found), Arrays.toString(shape)));
          }
          entry.getValue().copy_(loaded);
        } finally {
          loaded.close();
        }
      }
    }
    this.steps = steps;
  }

  private static void requireFloats(Tensor tensor, String what, int index) {
    ScalarType type = tensor.scalar_type().intern();
    if (type != ScalarType.Float) {
      throw new IllegalArgumentException(
          "%s %d is %s; expected Float".formatted(what, index, type));
    }
  }

  private void requireShape(Tensor gradient, int index) {
    long[] found = gradient.shape();
    long[] expected = parameters.get(index).shape();
    if (!Arrays.equals(found, expected)) {
      throw new IllegalArgumentException(
          "gradient %d has shape %s; its parameter has %s"
              .formatted(index, Arrays.toString(found), Arrays.toString(expected)));
    }
  }

  private static void requireNotNegative(String name, double value) {
    if (!(value >= 0 && value < Double.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException(
          name + " is " + value + "; expected a finite number, 0 or more");
    }
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("this AdamW is closed");
    }
  }

  /** Frees the moments; the parameters stay. Closing twice is harmless. */
  @Override
  public void close() {
    closed = true;
    firstMoments.forEach(Tensor::close);
    secondMoments.forEach(Tensor::close);
    firstMoments.clear();
    secondMoments.clear();
  }
}
