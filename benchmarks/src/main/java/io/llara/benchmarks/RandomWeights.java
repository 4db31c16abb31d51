package io.llara.benchmarks;

import static java.util.Objects.requireNonNull;

import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.model.WeightSource;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Weights made on the spot: norms are one, all else is normal with the standard deviation that
 * LLaMA models are initialised with. The same seed gives the same weights as long as nothing else
 * draws random numbers meanwhile.
 */
final class RandomWeights implements WeightSource {
  private static final double STANDARD_DEVIATION = 0.02;
  private static final long SEED = 20_231_215;

  private final Map<String, long[]> shapes;

  RandomWeights(LlamaConfig config) {
    shapes = LlamaTensors.required(config);
    Libtorch.load();
    torch.manual_seed(SEED);
  }

  @Override
  public boolean has(String name) {
    return shapes.containsKey(name);
  }

  @Override
  public Tensor load(String name, ScalarType type, Use use) {
    long[] shape = requireNonNull(shapes.get(name), name);
    try (TensorScope scope = new TensorScope()) {
      if (shape.length == 1) {
        return scope.own(torch.ones(shape, new TensorOptions(type)));
      }
      // Drawn in float32, for which libtorch has a vectorised generator.
      Tensor drawn = torch.randn(shape, new TensorOptions(ScalarType.Float));
      return scope.own(drawn.mul_(new Scalar(STANDARD_DEVIATION)).to(type));
    }
  }

  @Override
  public ScalarType storedType(String name, ScalarType preferred) {
    return preferred;
  }
}
