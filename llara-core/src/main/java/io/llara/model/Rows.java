package io.llara.model;

import io.llara.kernels.Kernels.Attention;
import io.llara.kernels.Kernels.Rotation;
import io.llara.tensor.Tensors;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The rows of a batch that a layer computes: its queries. Keys and values come from all rows.
 *
 * @param indices which rows they are, {@code [queries]}; null for all
 * @param queryRotation the rotation of these rows
 * @param keyRotation the rotation of all rows
 * @param attention over the keys that each query sees
 */
record Rows(
    @Nullable Tensor indices, Rotation queryRotation, Rotation keyRotation, Attention attention) {

  /** Returns these rows of a tensor {@code [rows, …]}. */
  Tensor of(Tensor all) {
    return indices == null ? all : Tensors.rows(all, indices);
  }
}
