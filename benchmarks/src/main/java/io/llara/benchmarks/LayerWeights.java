package io.llara.benchmarks;

import io.llara.checkpoint.LlamaConfig;
import io.llara.model.WeightSource;
import io.llara.tensor.TensorScope;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Random weights of which every layer has those of the first: a large model is drawn in the time of
 * one layer. What computes with them takes as long as with others.
 */
final class LayerWeights implements WeightSource {
  private final RandomWeights drawn;
  private final Map<String, Tensor> kept = new HashMap<>();

  LayerWeights(LlamaConfig config) {
    drawn = new RandomWeights(config);
  }

  @Override
  public boolean has(String name) {
    return drawn.has(name);
  }

  @Override
  public Tensor load(String name, ScalarType type, Use use) {
    String first = name.replaceFirst("^layers\\.\\d+\\.", "layers.0.");
    try (TensorScope scope = new TensorScope()) {
      return scope.own(kept.computeIfAbsent(first + type, key -> drawn.load(first, type, use)));
    }
  }

  @Override
  public ScalarType storedType(String name, ScalarType preferred) {
    return preferred;
  }
}
