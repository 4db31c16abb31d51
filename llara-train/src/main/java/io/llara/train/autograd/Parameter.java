package io.llara.train.autograd;

import io.llara.tensor.TensorScope;
import java.util.Arrays;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A trained tensor: what the optimiser changes, in float32, and what the model computes with, in
 * the compute type. In float32 they are one and the same.
 *
 * <p>Lanes read the leaf at the same time; {@link #refresh} and the optimiser need it to
 * themselves.
 */
public final class Parameter implements AutoCloseable {
  private final String name;
  private final Tensor master;
  private final Tensor leaf;
  private final boolean copied;

  private Parameter(String name, Tensor master, Tensor leaf, boolean copied) {
    this.name = name;
    this.master = master;
    this.leaf = leaf;
    this.copied = copied;
  }

  /**
   * Makes a parameter of a value.
   *
   * @param value its first value, of any floating type; copied
   * @param computeType the type the model computes in
   */
  public static Parameter of(String name, Tensor value, ScalarType computeType) {
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Tensor floats = value.to(ScalarType.Float).detach().clone().contiguous();
      boolean copied = computeType != ScalarType.Float;
      Tensor leaf = copied ? floats.to(computeType) : floats;
      leaf.requires_grad_(true);
      return new Parameter(name, scope.own(floats), scope.own(leaf), copied);
    }
  }

  /** Returns the canonical name, such as {@code layers.0.self_attn.q_proj.weight}. */
  public String name() {
    return name;
  }

  /** Returns the float32 value that the optimiser changes; it stays this parameter's. */
  public Tensor master() {
    return master;
  }

  /** Returns what autograd differentiates by, in the compute type; it stays this parameter's. */
  public Tensor leaf() {
    return leaf;
  }

  /** Returns the number of elements. */
  public long elements() {
    return master.numel();
  }

  /** Brings the leaf up to date after the master changed. */
  public void refresh() {
    if (copied) {
      try (NoGradGuard noGrad = new NoGradGuard();
          TensorScope scope = new TensorScope()) {
        leaf.copy_(master);
      }
    }
  }

  /**
   * Replaces the value.
   *
   * @throws IllegalArgumentException if the shape differs
   */
  public void set(Tensor value) {
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      if (!Arrays.equals(value.shape(), master.shape())) {
        throw new IllegalArgumentException(
            "%s has shape %s, not %s"
                .formatted(name, Arrays.toString(master.shape()), Arrays.toString(value.shape())));
      }
      master.copy_(value);
    }
    refresh();
  }

  @Override
  public void close() {
    leaf.close();
    master.close();
  }

  @Override
  public String toString() {
    return name;
  }
}
