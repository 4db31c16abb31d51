package io.llara.kernels;

import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * One of several projections of the same rows whose weights lie below each other in one matrix:
 * {@link Projection#all} applies neighbours in one product, which reads the rows once and fills a
 * GPU better than several do.
 */
public final class JoinedProjection implements Projection {
  private final SlicedProjection matrix;

  /** How many outputs each part has; the same array for all parts of a matrix. */
  private final long[] outputs;

  private final int index;

  private JoinedProjection(SlicedProjection matrix, long[] outputs, int index) {
    this.matrix = matrix;
    this.outputs = outputs;
    this.index = index;
  }

  /** Makes a projection of a weight and a bias or null, which are its own from then on. */
  public interface Maker {
    /** Makes it. */
    SlicedProjection make(Tensor weight, @Nullable Tensor bias);
  }

  /**
   * Joins weights; they stay the caller's. The first of the results owns the matrix: none of them
   * may be used once it is closed.
   *
   * @param weights {@code [out, in]} of each
   * @param biases {@code [out]} of each; empty for none
   * @param maker makes the matrix out of the weights below each other
   */
  public static List<Projection> join(List<Tensor> weights, List<Tensor> biases, Maker maker) {
    try (TensorScope scope = new TensorScope()) {
      Tensor weight = torch.cat(new TensorVector(weights.toArray(Tensor[]::new)), 0);
      @Nullable Tensor bias =
          biases.isEmpty() ? null : torch.cat(new TensorVector(biases.toArray(Tensor[]::new)), 0);
      long[] outputs = weights.stream().mapToLong(part -> part.size(0)).toArray();
      SlicedProjection matrix =
          maker.make(scope.own(weight), bias == null ? null : scope.own(bias));
      List<Projection> parts = new ArrayList<>();
      for (int i = 0; i < outputs.length; i++) {
        parts.add(new JoinedProjection(matrix, outputs, i));
      }
      return parts;
    }
  }

  /** Returns the first of projections if they are neighbours in one matrix. */
  static Optional<JoinedProjection> first(Projection... projections) {
    if (!(projections[0] instanceof JoinedProjection first)) {
      return Optional.empty();
    }
    for (int i = 1; i < projections.length; i++) {
      if (!(projections[i] instanceof JoinedProjection next)
          || next.outputs != first.outputs
          || next.index != first.index + i) {
        return Optional.empty();
      }
    }
    return Optional.of(first);
  }

  @Override
  public Tensor apply(Tensor x) {
    return apply(x, 1).get(0);
  }

  /** Applies {@code count} projections from this one on, {@code [rows, out]} of each. */
  List<Tensor> apply(Tensor x, int count) {
    long[] some = Arrays.copyOfRange(outputs, index, index + count);
    Tensor all = matrix.apply(x, Arrays.stream(outputs, 0, index).sum(), Arrays.stream(some).sum());
    List<Tensor> parts = new ArrayList<>();
    long begin = 0;
    for (long width : some) {
      parts.add(count == 1 ? all : all.narrow(1, begin, width));
      begin += width;
    }
    return parts;
  }

  @Override
  public void close() {
    if (index == 0) {
      matrix.close();
    }
  }
}
