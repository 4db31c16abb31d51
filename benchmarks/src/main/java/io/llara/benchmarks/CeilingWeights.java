package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.checkpoint.LlamaConfig;
import io.llara.kernels.NativeProjection;
import io.llara.kernels.PackedProjection;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.model.WeightSource;
import io.llara.tensor.Cpu;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The seven matrices of every layer, each at a place of its own in memory, so that a pass streams
 * through as many bytes as the model's does.
 */
final class CeilingWeights implements AutoCloseable {

  /** The projections of a layer, in the order a forward pass meets them. */
  enum Linear {
    QUERY("self_attn.q_proj", false),
    KEY("self_attn.k_proj", true),
    VALUE("self_attn.v_proj", true),
    OUTPUT("self_attn.o_proj", false),
    GATE("mlp.gate_proj", false),
    UP("mlp.up_proj", false),
    DOWN("mlp.down_proj", false);

    private final String module;
    private final boolean alwaysAllRows;

    Linear(String module, boolean alwaysAllRows) {
      this.module = module;
      this.alwaysAllRows = alwaysAllRows;
    }

    /** Returns whether it is needed for all rows in the last layer too. */
    boolean alwaysAllRows() {
      return alwaysAllRows;
    }

    /** Returns the width of what it is applied to. */
    int inputWidth(LlamaConfig config) {
      return switch (this) {
        case OUTPUT -> config.queryWidth();
        case DOWN -> config.intermediateSize();
        default -> config.hiddenSize();
      };
    }
  }

  private final LlamaConfig config;
  private final ScalarType type;
  private final List<List<PlainProjection>> layers = new ArrayList<>();

  CeilingWeights(LlamaConfig config, ComputeType computeType) {
    this.config = config;
    this.type = Cpu.scalarType(computeType);
    WeightSource source = new RandomWeights(config);
    for (int i = 0; i < config.layers(); i++) {
      List<PlainProjection> layer = new ArrayList<>();
      for (Linear linear : Linear.values()) {
        String name = "layers." + i + "." + linear.module + ".weight";
        layer.add(new PlainProjection(source.load(name, type, WeightSource.Use.KEPT), null));
      }
      layers.add(layer);
    }
  }

  LlamaConfig config() {
    return config;
  }

  ScalarType type() {
    return type;
  }

  /** Returns the projections by layer, then by {@link Linear}, over the weights as they are. */
  List<List<PlainProjection>> plain() {
    return layers;
  }

  /** Returns copies packed for products of so many rows; the caller closes them. */
  List<List<Projection>> pack(int rows) {
    return pack(weight -> PackedProjection.pack(weight, null, rows));
  }

  /** Returns copies packed for this library's own products; the caller closes them. */
  List<List<Projection>> packOwn() {
    return pack(weight -> NativeProjection.pack(weight, null, type));
  }

  private List<List<Projection>> pack(Function<Tensor, Projection> pack) {
    List<List<Projection>> packed = new ArrayList<>();
    for (List<PlainProjection> layer : layers) {
      packed.add(layer.stream().map(projection -> pack.apply(projection.weight())).toList());
    }
    return packed;
  }

  @Override
  public void close() {
    layers.forEach(layer -> layer.forEach(Projection::close));
  }
}
