package io.llara.train.autograd;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Maps;
import io.llara.tensor.TensorScope;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.ObjIntConsumer;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Sums the gradients that several lanes and micro-batches contribute to one step, in float32 and in
 * the contributors' order, whoever comes first: a sum does not depend on timing.
 *
 * <p>Contributors may run at once; {@link #begin} and {@link #totals} are for the thread that owns
 * the step.
 */
public final class GradientAccumulator implements AutoCloseable {
  /** In the order of the parameters. */
  private final ImmutableMap<Parameter, Slot> slots;

  private final ObjIntConsumer<Tensor> whenComplete;
  private int contributors;

  /**
   * Makes an accumulator.
   *
   * @param whenComplete gets the total of a parameter and its place in the list as soon as the last
   *     contributor gave its part; called by that contributor's thread, at most once a step for
   *     each parameter. The total stays the accumulator's. Parameters that no contributor had a
   *     gradient for come with zeros
   */
  public GradientAccumulator(List<Parameter> parameters, ObjIntConsumer<Tensor> whenComplete) {
    this.whenComplete = whenComplete;
    int[] count = {0};
    this.slots = Maps.toMap(parameters, parameter -> new Slot(parameter, count[0]++));
  }

  /** Begins a step: drops the sums of the last one. */
  public void begin(int contributors) {
    this.contributors = contributors;
    slots.values().forEach(Slot::reset);
  }

  /**
   * Returns the sink of one contributor.
   *
   * @param number its place in the order of the sum, from 0
   */
  public GradientSink contributor(int number) {
    return (parameter, gradient) -> {
      Slot slot = slots.get(parameter);
      if (slot == null) {
        throw new IllegalArgumentException(parameter + " is not one of the parameters");
      }
      try (NoGradGuard noGrad = new NoGradGuard();
          TensorScope scope = new TensorScope()) {
        slot.add(number, Optional.of(scope.own(gradient.to(ScalarType.Float).contiguous())));
      }
    };
  }

  /** Ends the contributions of one contributor. Must be called once for each. */
  public void finished(int number) {
    try (NoGradGuard noGrad = new NoGradGuard()) {
      slots.values().forEach(slot -> slot.finish(number));
    }
  }

  /**
   * Returns the sums, in the order of the parameters; they stay this accumulator's until the next
   * step begins.
   *
   * @throws IllegalStateException if a contributor has not finished
   */
  public List<Tensor> totals() {
    return slots.values().stream().map(Slot::total).toList();
  }

  @Override
  public void close() {
    slots.values().forEach(Slot::reset);
  }

  /** The gradient of one parameter so far. */
  private final class Slot {
    private final Parameter parameter;
    private final int index;
    private @Nullable Tensor total;

    /** The contributor whose turn it is. */
    private int next;

    /** What contributors gave before their turn; empty if they had nothing. */
    private final Map<Integer, Optional<Tensor>> early = new HashMap<>();

    Slot(Parameter parameter, int index) {
      this.parameter = parameter;
      this.index = index;
    }

    synchronized void add(int contributor, Optional<Tensor> part) {
      if (has(contributor)) {
        part.ifPresent(Tensor::close);
        throw new IllegalStateException(
            "contributor %d gave a second gradient of %s".formatted(contributor, parameter));
      }
      early.put(contributor, part);
      for (var ready = early.remove(next); ready != null; ready = early.remove(next)) {
        ready.ifPresent(this::accumulate);
        next++;
      }
      if (next == contributors) {
        if (total == null) {
          total = zeros();
        }
        whenComplete.accept(total, index);
      }
    }

    synchronized void finish(int contributor) {
      if (!has(contributor)) {
        add(contributor, Optional.empty());
      }
    }

    private boolean has(int contributor) {
      return contributor < next || early.containsKey(contributor);
    }

    private void accumulate(Tensor part) {
      if (total == null) {
        total = part;
        return;
      }
      try (TensorScope scope = new TensorScope()) {
        total.add_(part);
      }
      part.close();
    }

    private Tensor zeros() {
      try (TensorScope scope = new TensorScope()) {
        return scope.own(torch.zeros_like(parameter.master()).detach());
      }
    }

    synchronized Tensor total() {
      if (total == null || next != contributors) {
        throw new IllegalStateException("the gradient of " + parameter + " is not final");
      }
      return total;
    }

    synchronized void reset() {
      if (total != null) {
        total.close();
        total = null;
      }
      early.values().forEach(part -> part.ifPresent(Tensor::close));
      early.clear();
      next = 0;
    }
  }
}
