package io.llara.model;

import io.llara.kernels.Kernels;
import io.llara.kernels.Projection;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.Tensor;

/** The SwiGLU feed-forward block (arXiv 2002.05202): {@code down(silu(gate(x)) · up(x))}. */
final class SwiGluFeedForward implements AutoCloseable {
  private final Kernels kernels;
  private final Projection gate;
  private final Projection up;
  private final Projection down;

  /** Takes ownership of the projections. */
  SwiGluFeedForward(Kernels kernels, Projection gate, Projection up, Projection down) {
    this.kernels = kernels;
    this.gate = gate;
    this.up = up;
    this.down = down;
  }

  /** Runs the block on rows, {@code [rows, hidden]}, and adds the residual, which is as large. */
  Tensor applyAndAdd(Tensor x, Tensor residual) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(kernels.feedForward(x, gate, up, down, residual));
    }
  }

  @Override
  public void close() {
    gate.close();
    up.close();
    down.close();
  }
}
