package io.llara.benchmarks;

import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * How fast a step of training could be if it were nothing but its matrix products, forward and
 * backward: three for each projection ({@code x Wᵀ}, {@code dy W}, {@code dyᵀ x}), the head's among
 * them, and six for attention over the keys that each block of queries may see ({@code Q Kᵀ},
 * {@code P V}, {@code Pᵀ dO}, {@code dO Vᵀ}, {@code dS K}, {@code dSᵀ Q}). No norm, softmax,
 * rotation, activation, sum, lookup, loss or copy; results are thrown away at once.
 *
 * <p>A lane per core with one thread each, sequences split among them, or one lane whose products
 * use all cores; blocks of 64, 128 or 256 queries: the fastest is the ceiling. Operands lie as is
 * best for the product, which the model has to arrange for itself.
 */
final class TrainingCeiling implements AutoCloseable {
  private static final List<Integer> BLOCKS = List.of(64, 128, 256);

  /**
   * One way to run the products.
   *
   * @param wide whether one lane uses all cores, instead of a lane for each
   * @param block how many queries attend at once
   */
  private record Way(boolean wide, int block) {}

  private final LlamaConfig config;
  private final int sequences;
  private final int length;
  private final int lanes;
  private final LaneThreads narrowLanes;
  private final LaneThreads wideLane;
  private final List<Tensor> weights = new ArrayList<>();

  /** Rows of inputs and of gradients of outputs, by width. */
  private final Map<Long, Tensor> inputs = new HashMap<>();

  private final Map<Long, Tensor> gradients = new HashMap<>();
  private final Tensor queries;
  private final Tensor keys;
  private final Way way;

  /** Looks for the fastest way to run the products of sequences of one length. */
  TrainingCeiling(LlamaConfig config, ScalarType type, int sequences, int length, int lanes) {
    this.config = config;
    this.sequences = sequences;
    this.length = length;
    this.lanes = lanes;
    this.narrowLanes = new LaneThreads(lanes, 1);
    this.wideLane = new LaneThreads(1, lanes);
    LlamaTensors.required(config)
        .forEach(
            (name, shape) -> {
              boolean looksUp = name.equals(LlamaTensors.EMBEDDING) && !config.tieWordEmbeddings();
              if (shape.length == 2 && !looksUp) {
                weights.add(random(type, shape));
              }
            });
    long rows = (long) sequences * length;
    for (Tensor weight : weights) {
      inputs.computeIfAbsent(weight.size(1), width -> random(type, rows, width));
      gradients.computeIfAbsent(weight.size(0), width -> random(type, rows, width));
    }
    long groups = config.heads() / config.kvHeads();
    this.queries = random(type, config.kvHeads(), groups * Math.min(256, length), config.headDim());
    this.keys = random(type, config.kvHeads(), length, config.headDim());
    this.way =
        Stream.of(false, true)
            .flatMap(wide -> BLOCKS.stream().map(block -> new Way(wide, Math.min(block, length))))
            .distinct()
            .min(Comparator.comparingDouble(this::shortest))
            .orElseThrow();
  }

  private static Tensor random(ScalarType type, long... shape) {
    try (TensorScope scope = new TensorScope()) {
      return scope.own(torch.randn(shape, new TensorOptions(ScalarType.Float)).to(type));
    }
  }

  /** Returns the way that was found to be the fastest, in words. */
  String describeWay() {
    return "%s, blocks of %d"
        .formatted(
            way.wide() ? "1 lane × " + lanes + " threads" : lanes + " lanes × 1 thread",
            way.block());
  }

  /** Runs all products once and returns the seconds they took. */
  double run() {
    return run(way);
  }

  private double shortest(Way one) {
    run(one);
    // Of several: on a busy machine one run may be slow for reasons of its own.
    return DoubleStream.generate(() -> run(one)).limit(4).min().orElseThrow();
  }

  private double run(Way how) {
    int count = how.wide() ? 1 : lanes;
    List<Runnable> tasks =
        IntStream.range(0, count)
            .map(lane -> sequences / count + (lane < sequences % count ? 1 : 0))
            .mapToObj(share -> (Runnable) () -> step(share, how.block()))
            .toList();
    return (how.wide() ? wideLane : narrowLanes).run(tasks);
  }

  private void step(int share, int block) {
    if (share == 0) {
      return;
    }
    for (Tensor weight : weights) {
      try (TensorScope scope = new TensorScope()) {
        long rows = (long) share * length;
        Tensor x = inputs.get(weight.size(1)).narrow(0, 0, rows);
        Tensor dy = gradients.get(weight.size(0)).narrow(0, 0, rows);
        drop(() -> torch.linear(x, weight));
        drop(() -> torch.mm(dy, weight));
        drop(() -> torch.mm(dy.t(), x));
      }
    }
    for (int i = 0; i < config.layers() * share; i++) {
      for (int begin = 0; begin < length; begin += block) {
        int rows = Math.min(block, length - begin);
        attention(rows, begin + rows);
      }
    }
  }

  /** Scores of a block of queries; heads that share keys stand below each other in it. */
  private void attention(int rows, int visible) {
    try (TensorScope scope = new TensorScope()) {
      long groups = config.heads() / config.kvHeads();
      Tensor q = queries.narrow(1, 0, groups * rows);
      Tensor k = keys.narrow(1, 0, visible);
      Tensor scores = torch.bmm(q, k.transpose(1, 2)); // Q Kᵀ
      drop(() -> torch.bmm(scores, k)); // P V
      drop(() -> torch.bmm(scores.transpose(1, 2), q)); // Pᵀ dO
      drop(() -> torch.bmm(q, k.transpose(1, 2))); // dO Vᵀ
      drop(() -> torch.bmm(scores, k)); // dS K
      drop(() -> torch.bmm(scores.transpose(1, 2), q)); // dSᵀ Q
    }
  }

  /** A scope for each product: the next one's result then takes the memory of this one's. */
  private static void drop(Supplier<Tensor> product) {
    try (TensorScope scope = new TensorScope()) {
      product.get();
    }
  }

  @Override
  public void close() {
    narrowLanes.close();
    wideLane.close();
    weights.forEach(Tensor::close);
    inputs.values().forEach(Tensor::close);
    gradients.values().forEach(Tensor::close);
    queries.close();
    keys.close();
  }
}
