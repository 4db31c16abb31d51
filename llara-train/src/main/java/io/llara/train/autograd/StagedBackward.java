package io.llara.train.autograd;

import io.llara.kernels.GradientTape;
import io.llara.tensor.TensorScope;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.jspecify.annotations.Nullable;

/**
 * A chain of stages, run forward and then differentiated from the last to the first, each by
 * itself: {@code ∂L/∂input} of a stage is handed on as {@code ∂L/∂output} of the one before. The
 * result equals one recorded pass. What it buys is that the gradients of a stage are final, and its
 * memory free, before the next stage begins.
 *
 * <p>Either every stage is recorded while it runs, or only its input is kept and it is run once
 * more, recorded, when its turn comes (activation checkpointing, arXiv 1604.06174): up to a third
 * of the arithmetic again, for the memory of one layer instead of all. The last two stages are
 * recorded in any case: their turn comes first.
 *
 * <p>For one thread and one pass. Closing frees what a pass that was given up has kept.
 */
public final class StagedBackward implements AutoCloseable {
  /** The backward pass begins with these (a norm and a layer): to drop them would save nothing. */
  private static final int RECORDED_LAST = 2;

  private final List<Stage> stages;
  private final boolean recompute;

  /** What is kept of the stages that ran forward and not yet backward, the last on top. */
  private final Deque<Kept> kept = new ArrayDeque<>();

  /** A stage's input, cut off from the graph before it, and its output, if it was recorded. */
  private record Kept(Stage stage, Tensor input, @Nullable Tensor output, GradientTape tape) {
    void close() {
      input.close();
      if (output != null) {
        output.close();
      }
      tape.close();
    }
  }

  /**
   * Prepares a pass.
   *
   * @param stages in the order of the forward pass
   * @param recompute whether all but the last stages are run again instead of recorded the first
   *     time
   */
  public StagedBackward(List<Stage> stages, boolean recompute) {
    this.stages = List.copyOf(stages);
    this.recompute = recompute;
  }

  /**
   * Runs the stages.
   *
   * @param input what the first stage takes; it stays the caller's and must not be changed before
   *     the backward pass
   * @return the output of the last stage, cut off from the graph; the caller's
   */
  public Tensor forward(Tensor input) {
    try (TensorScope scope = new TensorScope()) {
      Tensor x = input.detach();
      for (Stage stage : stages) {
        x = run(stage, x);
      }
      return scope.keep(x);
    }
  }

  private Tensor run(Stage stage, Tensor input) {
    try (TensorScope scope = new TensorScope()) {
      boolean record = !recompute || kept.size() >= stages.size() - RECORDED_LAST;
      // Another handle of the same memory, with a requires_grad of its own.
      Tensor leaf = input.detach().requires_grad_(record);
      GradientTape tape = new GradientTape();
      Tensor output;
      try {
        output = record ? tape.record(() -> stage.function().apply(leaf)) : unrecorded(stage, leaf);
      } catch (RuntimeException | Error e) {
        tape.close();
        throw e;
      }
      kept.push(new Kept(stage, scope.own(leaf), record ? scope.own(output) : null, tape));
      return scope.keep(output.detach());
    }
  }

  private static Tensor unrecorded(Stage stage, Tensor input) {
    try (AutoGradMode mode = new AutoGradMode(false)) {
      return stage.function().apply(input);
    }
  }

  /**
   * Differentiates the stages, last to first.
   *
   * @param outputGradient {@code ∂L/∂output}, in the output's shape and type
   * @param sink takes the gradients of each stage's parameters before the next stage begins
   * @return {@code ∂L/∂input}; the caller's
   */
  public Tensor backward(Tensor outputGradient, GradientSink sink) {
    if (kept.size() != stages.size()) {
      throw new IllegalStateException("a backward pass follows a forward pass, once");
    }
    try (TensorScope scope = new TensorScope()) {
      Tensor gradient = outputGradient;
      while (!kept.isEmpty()) {
        Kept last = kept.pop();
        try {
          Tensor before = backward(last, gradient, sink);
          if (gradient != outputGradient) {
            scope.free(gradient);
          }
          gradient = before;
        } finally {
          last.close();
        }
      }
      return scope.keep(gradient);
    }
  }

  private Tensor backward(Kept last, Tensor outputGradient, GradientSink sink) {
    try (TensorScope scope = new TensorScope()) {
      Tensor output = last.output();
      if (output == null) {
        Tensor input = last.input().requires_grad_(true);
        output = last.tape().record(() -> last.stage().function().apply(input));
      }
      List<Parameter> parameters = last.stage().parameters();
      TensorVector inputs = new TensorVector();
      inputs.push_back(last.input());
      for (Parameter parameter : parameters) {
        inputs.push_back(parameter.leaf());
      }
      TensorVector gradients = last.tape().differentiate(output, outputGradient, inputs);
      for (int i = 0; i < parameters.size(); i++) {
        sink.add(parameters.get(i), gradients.get(i + 1));
      }
      return scope.keep(gradients.get(0));
    }
  }

  @Override
  public void close() {
    kept.forEach(Kept::close);
    kept.clear();
  }
}
