package io.llara.model;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LoraAdapter;
import io.llara.checkpoint.TensorEntry;
import io.llara.tensor.TensorScope;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * The weights of a checkpoint directory, with a LoRA adapter merged in where there is one (arXiv
 * 2106.09685). Thread-safe but for {@link #close}.
 */
public final class CheckpointWeights implements WeightSource, AutoCloseable {
  private final CheckpointDirectory checkpoint;
  private final Map<String, TensorEntry> replacements;
  private final Map<String, LoraAdapter.Pair> pairs;
  private final boolean copy;
  private final StoredTensors stored = new StoredTensors();

  /**
   * Opens the weights.
   *
   * @param copy whether weights that could be views of mapped files are copied instead
   */
  public CheckpointWeights(
      CheckpointDirectory checkpoint, @Nullable LoraAdapter adapter, boolean copy) {
    this.checkpoint = checkpoint;
    this.replacements = adapter == null ? Map.of() : adapter.replacements();
    this.pairs = adapter == null ? Map.of() : adapter.pairs();
    this.copy = copy;
  }

  @Override
  public boolean forThreads() {
    return true;
  }

  @Override
  public boolean has(String name) {
    return replacements.containsKey(name) || checkpoint.tensors().containsKey(name);
  }

  @Override
  public Tensor load(String name, ScalarType type, Use use) {
    TensorEntry entry = entry(name);
    LoraAdapter.Pair pair = pairs.get(name);
    if (pair != null) {
      return merge(name, pair, type);
    }
    Optional<TensorEntry> scales = scales(name);
    if (scales.isPresent()) {
      return stored.dequantize(entry, scales.get(), type);
    }
    ScalarType storedType = StoredTensors.scalarType(entry.type());
    if (storedType == type) {
      return use == Use.KEPT && !copy ? stored.map(entry) : stored.read(entry);
    }
    try (TensorScope scope = new TensorScope()) {
      return scope.own(borrow(entry).to(type));
    }
  }

  @Override
  public boolean isQuantized(String name) {
    return !pairs.containsKey(name) && scales(name).isPresent();
  }

  @Override
  public Optional<QuantizedMatrix> quantized(String name) {
    return isQuantized(name)
        ? scales(name).map(scales -> stored.quantized(entry(name), scales))
        : Optional.empty();
  }

  @Override
  public ScalarType storedType(String name, ScalarType preferred) {
    return pairs.containsKey(name) || isQuantized(name)
        ? preferred
        : StoredTensors.scalarType(entry(name).type());
  }

  private Optional<TensorEntry> scales(String name) {
    return replacements.containsKey(name) ? Optional.empty() : checkpoint.scales(name);
  }

  private TensorEntry entry(String name) {
    TensorEntry replacement = replacements.get(name);
    return replacement == null ? checkpoint.tensor(name) : replacement;
  }

  /** {@code W + scale · B A}, summed in float32 so that the merge costs one rounding. */
  private Tensor merge(String name, LoraAdapter.Pair pair, ScalarType type) {
    try (TensorScope scope = new TensorScope()) {
      Tensor base = base(name);
      Tensor a = borrow(pair.a()).to(ScalarType.Float);
      Tensor b = borrow(pair.b()).to(ScalarType.Float);
      return scope.own(base.addmm(b, a, new Scalar(1.0), new Scalar(pair.scale())).to(type));
    }
  }

  /** Reads a weight in float32 into the innermost scope. */
  private Tensor base(String name) {
    TensorEntry entry = entry(name);
    return scales(name)
        .map(scales -> TensorScope.adopt(stored.dequantize(entry, scales, ScalarType.Float)))
        .orElseGet(() -> borrow(entry).to(ScalarType.Float));
  }

  /** Reads a tensor into the innermost scope. */
  private Tensor borrow(TensorEntry entry) {
    return TensorScope.adopt(stored.read(entry));
  }

  @Override
  public void close() {
    stored.close();
  }
}
