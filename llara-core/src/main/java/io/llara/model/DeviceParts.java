package io.llara.model;

import io.llara.ComputeType;
import io.llara.checkpoint.LlamaTensors;
import io.llara.kernels.Accelerator;
import io.llara.kernels.Float8Projection;
import io.llara.kernels.JoinedProjection;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.kernels.SlicedProjection;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
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
  private final boolean float8;
  private final Accelerator device;

  /**
   * Takes parts from a source, which stays the caller's.
   *
   * @param type the type to compute in, never {@code AUTO}
   */
  public DeviceParts(WeightSource weights, ComputeType type, Accelerator device) {
    this.weights = weights;
    this.type = Tensors.scalarType(type);
    this.float8 = type == ComputeType.FLOAT8;
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
    Tensor weight;
    try {
      weight = load(module + ".weight");
    } catch (RuntimeException | Error e) {
      if (bias != null) {
        bias.close(); // No projection owns it yet.
      }
      throw e;
    }
    return projection(weight, bias);
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
      return JoinedProjection.join(matrices, biases, this::projection);
    }
  }

  private SlicedProjection projection(Tensor weight, @Nullable Tensor bias) {
    return float8 && Float8Projection.suits(weight)
        ? new Float8Projection(weight, bias, device.kernels())
        : new PlainProjection(weight, bias);
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
