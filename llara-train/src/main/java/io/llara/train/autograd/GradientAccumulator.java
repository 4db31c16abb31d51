package io.llara.train.autograd;

import static java.util.Objects.requireNonNull;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Maps;
import io.llara.tensor.TensorScope;
import java.util.List;
import java.util.function.ObjIntConsumer;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Sums the gradients that several lanes and micro-batches contribute to one step, in float32 and in
 * the order of the contributors' numbers, whoever comes first: a sum does not depend on timing.
 *
 * <p>Contributors may run at once; {@link #begin} and {@link #totals} are for the thread that owns
 * the step.
 */
public final class GradientAccumulator implements AutoCloseable {
  private final List<Parameter> parameters;
  private final ImmutableMap<Parameter, Slot> slots;
  private final ObjIntConsumer<Tensor> whenComplete;
  private int contributors;

  /** The gradient of one parameter as far as it has come. */
  private static final class Slot {
    final int index;
    @Nullable Tensor total;
    int next;
    @Nullable Tensor[] waiting = new Tensor[0];
    boolean[] arrived = new boolean[0];

    Slot(int index) {
      this.index = index;
    }

    void reset(int contributors) {
      close();
      next = 0;
      waiting = new Tensor[contributors];
      arrived = new boolean[contributors];
    }

    void close() {
      if (total != null) {
        total.close();
        total = null;
      }
      for (int i = 0; i < waiting.length; i++) {
        Tensor left = waiting[i];
        if (left != null) {
          left.close();
          waiting[i] = null;
        }
      }
    }
  }

  /**
   * Makes an accumulator.
   *
   * @param whenComplete told, with the parameter's place in the list, as soon as the last
   *     contributor gave its part; called by that contributor's thread, at most once a step for
   *     each parameter, with the total, which stays the accumulator's. Parameters that no
   *     contributor had a gradient for come with zeros
   */
  public GradientAccumulator(List<Parameter> parameters, ObjIntConsumer<Tensor> whenComplete) {
    this.parameters = List.copyOf(parameters);
    this.whenComplete = whenComplete;
    int[] count = {0};
    this.slots = Maps.toMap(this.parameters, parameter -> new Slot(count[0]++));
  }

  /** Begins a step: drops the sums of the last one. */
  public void begin(int contributors) {
    this.contributors = contributors;
    slots.values().forEach(slot -> slot.reset(contributors));
  }

  /**
   * Returns the sink of one contributor.
   *
   * @param number its place in the order of the sum, from 0
   */
  public GradientSink contributor(int number) {
    return (parameter, gradient) -> {
      try (NoGradGuard noGrad = new NoGradGuard();
          TensorScope scope = new TensorScope()) {
        deliver(parameter, number, scope.own(gradient.to(ScalarType.Float).contiguous()));
      }
    };
  }

  /** Says that a contributor has given all it has. Must be called once for each. */
  public void finished(int number) {
    try (NoGradGuard noGrad = new NoGradGuard()) {
      for (Parameter parameter : parameters) {
        Slot slot = requireNonNull(slots.get(parameter));
        boolean missing;
        synchronized (slot) {
          missing = !slot.arrived[number];
        }
        if (missing) {
          deliver(parameter, number, null);
        }
      }
    }
  }

  private void deliver(Parameter parameter, int number, @Nullable Tensor gradient) {
    Slot slot = requireNonNull(slots.get(parameter), parameter.name());
    synchronized (slot) {
      if (slot.arrived[number]) {
        throw new IllegalStateException(
            "contributor %d gave a second gradient of %s".formatted(number, parameter));
      }
      slot.arrived[number] = true;
      slot.waiting[number] = gradient;
      while (slot.next < contributors && slot.arrived[slot.next]) {
        Tensor part = slot.waiting[slot.next];
        slot.waiting[slot.next] = null;
        slot.next++;
        if (part != null) {
          add(slot, part);
        }
      }
      if (slot.next == contributors) {
        if (slot.total == null) {
          slot.total = zeros(parameter);
        }
        whenComplete.accept(slot.total, slot.index);
      }
    }
  }

  private static void add(Slot slot, Tensor part) {
    if (slot.total == null) {
      slot.total = part;
      return;
    }
    try (TensorScope scope = new TensorScope()) {
      slot.total.add_(part);
    }
    part.close();
  }

  private static Tensor zeros(Parameter parameter) {
    try (TensorScope scope = new TensorScope()) {
      return scope.own(torch.zeros_like(parameter.master()).detach());
    }
  }

  /**
   * Returns the sums, in the order of the parameters; they stay this accumulator's until the next
   * step begins.
   *
   * @throws IllegalStateException if a contributor has not finished
   */
  public List<Tensor> totals() {
    return parameters.stream()
        .map(
            parameter -> {
              Slot slot = requireNonNull(slots.get(parameter));
              if (slot.total == null || slot.next != contributors) {
                throw new IllegalStateException("the gradient of " + parameter + " is not final");
              }
              return slot.total;
            })
        .toList();
  }

  @Override
  public void close() {
    slots.values().forEach(Slot::close);
  }
}
