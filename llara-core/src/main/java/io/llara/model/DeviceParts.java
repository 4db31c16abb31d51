package io.llara.model;

import io.llara.checkpoint.LlamaTensors;
import io.llara.kernels.Accelerator;
import io.llara.kernels.JoinedProjection;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntUnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Parts for inference on a device: weights are copied there one by one, straight from their files.
 */
public final class DeviceParts implements Parts {
  private final WeightSource weights;
  private final ScalarType type;
  private final Accelerator device;

  /**
   * Takes parts from a source, which stays the caller's.
   *
   * @param type the type to compute in
   */
  public DeviceParts(WeightSource weights, ScalarType type, Accelerator device) {
    this.weights = weights;
    this.type = type;
    this.device = device;
  }

  @Override
  public TokenEmbedding embedding() {
    return new TokenEmbedding(load(LlamaTensors.EMBEDDING), type);
  }

  @Override
  public Tensor norm(String name) {
    return load(name);
  }

  @Override
  public Projection projection(String module) {
    @Nullable Tensor bias = weights.has(module + ".bias") ? load(module + ".bias") : null;
    try {
      return new PlainProjection(load(module + ".weight"), bias);
    } catch (RuntimeException | Error e) {
      if (bias != null) {
        bias.close(); // No projection owns it yet.
      }
      throw e;
    }
  }

  @Override
  public List<Projection> projections(List<String> modules) {
    try (TensorScope scope = new TensorScope()) {
      List<Tensor> matrices = new ArrayList<>();
      List<Tensor> biases = new ArrayList<>();
      for (String module : modules) {
        matrices.add(TensorScope.adopt(load(module + ".weight")));
        if (weights.has(module + ".bias")) {
          biases.add(TensorScope.adopt(load(module + ".bias")));
        }
      }
      return JoinedProjection.join(matrices, biases);
    }
  }

  @Override
  public IntUnaryOperator rowPadding() {
    return rows -> rows;
  }

  private Tensor load(String name) {
    try (TensorScope scope = new TensorScope()) {
      Tensor host = TensorScope.adopt(weights.load(name, type, WeightSource.Use.KEPT));
      return device.upload(host, type);
    }
  }
}
