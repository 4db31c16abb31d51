package io.llara.train.optim;

import io.llara.LlaraException;
import io.llara.tensor.Operator;
import io.llara.tensor.TensorScope;
import io.llara.train.autograd.Parameter;
import io.llara.train.distributed.Lanes;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.IntStream;
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
 * <p>Parameters are dealt out to lanes, about as many elements to each. Every element is updated by
 * itself, so that an update is the same to the bit whatever the number of lanes and threads. The
 * moments are as large as the parameters twice over. For one thread.
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
  private final List<Parameter> parameters;
  private final Lanes lanes;

  /** The places of the parameters that each lane updates. */
  private final List<List<Integer>> shares;

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
   * Creates an optimiser that has not stepped yet. Parameters and lanes stay the caller's.
   *
   * @throws IllegalArgumentException if there are no parameters
   */
  public AdamW(List<Parameter> parameters, Settings settings, Lanes lanes) {
    if (parameters.isEmpty()) {
      throw new IllegalArgumentException("there are no parameters to train");
    }
    this.parameters = List.copyOf(parameters);
    this.settings = settings;
    this.lanes = lanes;
    this.shares =
        Lanes.deal(
            IntStream.range(0, parameters.size()).boxed().toList(),
            place -> parameters.get(place).elements(),
            Math.min(lanes.count(), parameters.size()));
    try (TensorScope scope = new TensorScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      for (Parameter parameter : parameters) {
        firstMoments.add(scope.own(torch.zeros_like(parameter.master())));
        secondMoments.add(scope.own(torch.zeros_like(parameter.master())));
      }
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /**
   * Moves the parameters against the gradients, and brings their leaves up to date.
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
    try (TensorScope scope = new TensorScope()) {
      for (int place = 0; place < gradients.size(); place++) {
        requireFit(gradients.get(place), place);
      }
    }
    steps++;
    lanes.forEach(shares, (places, lane) -> update(places, gradients, learningRate));
  }

  private void update(List<Integer> places, List<Tensor> gradients, double learningRate) {
    try (TensorScope scope = new TensorScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      List<Tensor> masters = places.stream().map(place -> parameters.get(place).master()).toList();
      // One count serves all: the kernel only reads it.
      Tensor count = torch.full(new long[0], new Scalar((double) steps), masters.get(0).options());
      FUSED.run(
          list(masters),
          list(places.stream().map(place -> gradients.get(place).contiguous()).toList()),
          list(places.stream().map(firstMoments::get).toList()),
          list(places.stream().map(secondMoments::get).toList()),
          list(List.of()), // maxima of the second moments: AMSGrad's
          list(Collections.nCopies(places.size(), count)),
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
    places.forEach(place -> parameters.get(place).refresh());
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
   * @throws IllegalStateException if closed
   */
  public Map<String, Tensor> state() {
    requireOpen();
    Map<String, Tensor> state = new LinkedHashMap<>();
    for (List<Integer> places : shares) {
      for (int place : places) {
        state.put(FIRST + parameters.get(place).name(), firstMoments.get(place));
        state.put(SECOND + parameters.get(place).name(), secondMoments.get(place));
      }
    }
    return state;
  }

  /**
   * Restores the state of another optimiser.
   *
   * @param steps how many steps that one had made
   * @param load gives a tensor of {@link #state} by its name; this method closes it
   * @throws LlaraException if a tensor does not have its parameter's shape, or is not float32
   * @throws IllegalStateException if closed
   */
  public void restore(long steps, Function<String, Tensor> load) {
    if (steps < 0) {
      throw new IllegalArgumentException("steps is " + steps + "; expected 0 or more");
    }
    state().forEach((name, moment) -> restore(name, moment, load));
    this.steps = steps;
  }

  private static void restore(String name, Tensor moment, Function<String, Tensor> load) {
    try (TensorScope scope = new TensorScope();
        NoGradGuard noGrad = new NoGradGuard();
        Tensor loaded = load.apply(name)) {
      ScalarType type = loaded.scalar_type().intern();
      if (type != ScalarType.Float || !Arrays.equals(loaded.shape(), moment.shape())) {
        throw new LlaraException(
            "optimiser state %s is %s %s; expected Float %s"
                .formatted(
                    name, type, Arrays.toString(loaded.shape()), Arrays.toString(moment.shape())));
      }
      moment.copy_(loaded);
    }
  }

  private void requireFit(Tensor gradient, int place) {
    ScalarType type = gradient.scalar_type().intern();
    if (type != ScalarType.Float) {
      throw new IllegalArgumentException(
          "gradient %d is %s; expected Float".formatted(place, type));
    }
    long[] found = gradient.shape();
    long[] expected = parameters.get(place).master().shape();
    if (!Arrays.equals(found, expected)) {
      throw new IllegalArgumentException(
          "gradient %d has shape %s; its parameter has %s"
              .formatted(place, Arrays.toString(found), Arrays.toString(expected)));
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

  /** Frees the moments. Closing twice is harmless. */
  @Override
  public void close() {
    closed = true;
    firstMoments.forEach(Tensor::close);
    secondMoments.forEach(Tensor::close);
    firstMoments.clear();
    secondMoments.clear();
  }
}
