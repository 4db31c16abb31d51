package io.llara.benchmarks;

import io.llara.benchmarks.CeilingWeights.Linear;
import io.llara.checkpoint.LlamaConfig;
import io.llara.kernels.NativeProjection;
import io.llara.kernels.PackedProjection;
import io.llara.kernels.Projection;
import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * How fast a forward pass could be if it were nothing but its matrix products: the same numbers of
 * rows through the same projections, and attention's two products over the keys that each block of
 * queries may see. No norm, softmax, rotation, activation, sum, lookup or copy; results are thrown
 * away at once.
 *
 * <p>Just the products that an encoding pass needs are counted. In the last layer keys and values
 * are made for all rows, but the query, output and feed-forward projections for the {@value
 * Workload#MARKERS} pooled rows of each prompt only, whose attention is one block of {@value
 * Workload#MARKERS} queries over all keys. In other words: what the last layer saves is taken from
 * the ceiling's time as well, and leaving it out of the model would not show as a better ratio.
 *
 * <p>Several ways are tried, and the fastest is the ceiling: weights as they are ({@code linear})
 * or packed by oneDNN; a lane per core with one thread each, tokens split among them, or one lane
 * whose products use all cores; the rows of a product in chunks or at once; blocks of 64, 128 or
 * 256 queries. Lanes do not wait for each other. Attention's operands lie packed by head, which the
 * model has to arrange for itself.
 */
final class Ceiling implements AutoCloseable {
  /** Ways are compared on so many layers; the fastest of each kind then run on all. */
  private static final int PROBED_LAYERS = 2;

  /** A kind of set-up that is this much slower on the probed layers is not tried on all. */
  private static final double HOPELESS = 1.2;

  private static final int OWN = -1;

  private static final List<Integer> CHUNK_ROWS = List.of(512, 1024, Integer.MAX_VALUE);
  private static final List<Integer> BLOCKS = List.of(64, 128, 256);

  /**
   * One way to run the products.
   *
   * @param packedRows the number of rows that weights are packed for, 0 if they are not packed,
   *     {@link #OWN} for those of this library
   * @param wide whether one lane uses all cores, instead of a lane for each
   * @param chunkRows how many rows go through all layers before the next ones
   * @param block how many queries attend at once
   */
  private record Way(int packedRows, boolean wide, int chunkRows, int block) {
    String describe(int lanes) {
      return "%s, %s, chunks of %d, blocks of %d"
          .formatted(
              packedRows == OWN ? "own" : packedRows > 0 ? "packed for " + packedRows : "plain",
              wide ? "1 lane × " + lanes + " threads" : lanes + " lanes × 1 thread",
              chunkRows,
              block);
    }
  }

  /**
   * What a lane does of a batch.
   *
   * @param rows the rows of its linear layers
   * @param markers how many of these are left in the last layer
   * @param sequences the prompts of its attention
   * @param kvHeads the key heads of its attention
   */
  private record Share(int rows, int markers, int sequences, int kvHeads) {}

  private final LlamaConfig config;
  private final int batch;
  private final int length;
  private final int lanes;
  private final LaneThreads narrowLanes;
  private final LaneThreads wideLane;

  /** The layers by the number of rows they are packed for. */
  private final Map<Integer, List<? extends List<? extends Projection>>> layouts =
      new LinkedHashMap<>();

  private final Map<Integer, Tensor> inputs = new HashMap<>();
  private final Tensor queries;
  private final Tensor keys;
  private final Tensor values;
  private final Way way;

  /**
   * Looks for the fastest way to run the products of {@code batch} prompts of {@code length}
   * tokens. The weights stay the caller's and must live as long as this.
   */
  Ceiling(CeilingWeights weights, int batch, int length, int lanes) {
    this.config = weights.config();
    this.batch = batch;
    this.length = length;
    this.lanes = lanes;
    this.narrowLanes = new LaneThreads(lanes, 1);
    this.wideLane = new LaneThreads(1, lanes);
    int rows = batch * length;
    layouts.put(0, weights.plain());
    if (weights.type() == ScalarType.BFloat16 && NativeProjection.available(weights.type())) {
      layouts.put(OWN, weights.packOwn());
    }
    if (PackedProjection.available(weights.type())) {
      // The layout depends on the rows it is made for, and what is best for few is not known.
      for (int packedRows : List.of(Math.min(1024, (rows + lanes - 1) / lanes), 1024)) {
        layouts.computeIfAbsent(packedRows, weights::pack);
      }
    }
    TensorOptions options = new TensorOptions(weights.type());
    for (Linear linear : Linear.values()) {
      inputs.computeIfAbsent(linear.inputWidth(config), width -> random(options, rows, width));
    }
    int groups = config.heads() / config.kvHeads();
    long blockRows = (long) groups * Math.max(Workload.MARKERS, Math.min(256, length));
    this.queries = random(options, config.kvHeads(), blockRows, config.headDim());
    this.keys = random(options, config.kvHeads(), length, config.headDim());
    this.values = random(options, config.kvHeads(), length, config.headDim());
    options.close();
    this.way = fastest();
    freeLayoutsBut(way.packedRows());
  }

  private static Tensor random(TensorOptions options, long... shape) {
    try (TensorScope scope = new TensorScope()) {
      return scope.own(torch.randn(shape, options));
    }
  }

  /** Returns the way that was found to be the fastest, in words. */
  String describeWay() {
    return way.describe(lanes);
  }

  /** Runs all products once and returns the seconds they took. */
  double run() {
    return run(way, config.layers());
  }

  private Way fastest() {
    Map<Way, Double> probes = new HashMap<>();
    Way narrow = fastest(false, probes);
    Way wide = fastest(true, probes);
    double narrowSeconds = probes.get(narrow);
    double wideSeconds = probes.get(wide);
    if (wideSeconds > narrowSeconds * HOPELESS) {
      return narrow;
    }
    if (narrowSeconds > wideSeconds * HOPELESS) {
      return wide;
    }
    return fastest(Stream.of(narrow, wide), config.layers(), new HashMap<>());
  }

  /** One choice after the other, each with the best of the choices before. */
  private Way fastest(boolean wide, Map<Way, Double> probes) {
    int rows = wide ? batch * length : shares(false).get(0).rows();
    Way first =
        fastest(
            List.copyOf(layouts.keySet()).stream()
                .map(
                    packedRows ->
                        new Way(packedRows, wide, Math.min(1024, rows), Math.min(128, length))),
            PROBED_LAYERS,
            probes);
    Way second =
        fastest(
            CHUNK_ROWS.stream()
                .map(
                    chunk ->
                        new Way(first.packedRows(), wide, Math.min(chunk, rows), first.block())),
            PROBED_LAYERS,
            probes);
    return fastest(
        BLOCKS.stream()
            .map(
                block ->
                    new Way(
                        second.packedRows(), wide, second.chunkRows(), Math.min(block, length))),
        PROBED_LAYERS,
        probes);
  }

  private Way fastest(Stream<Way> ways, int layers, Map<Way, Double> known) {
    return ways.min(
            Comparator.comparingDouble(
                one -> known.computeIfAbsent(one, unknown -> shortest(unknown, layers))))
        .orElseThrow();
  }

  /** The shortest of several runs, after one to warm up. */
  private double shortest(Way one, int layers) {
    run(one, layers);
    double shortest = Double.MAX_VALUE;
    double spent = 0;
    for (int i = 0; i < 2 || (spent < 0.3 && i < 50); i++) {
      double seconds = run(one, layers);
      shortest = Math.min(shortest, seconds);
      spent += seconds;
    }
    return shortest;
  }

  private double run(Way how, int layers) {
    List<Runnable> tasks =
        shares(how.wide()).stream()
            .map(share -> (Runnable) () -> pass(share, how, layers))
            .toList();
    return (how.wide() ? wideLane : narrowLanes).run(tasks);
  }

  /** Whole prompts for each lane; where there are too few, rows and heads of all of them. */
  private List<Share> shares(boolean wide) {
    int count = wide ? 1 : lanes;
    if (batch >= count) {
      return IntStream.range(0, count)
          .map(lane -> part(batch, count, lane))
          .mapToObj(this::whole)
          .toList();
    }
    return IntStream.range(0, count)
        .mapToObj(
            lane ->
                new Share(
                    part(batch * length, count, lane),
                    part(batch * Workload.MARKERS, count, lane),
                    batch,
                    part(config.kvHeads(), count, lane)))
        .toList();
  }

  private Share whole(int prompts) {
    return new Share(prompts * length, prompts * Workload.MARKERS, prompts, config.kvHeads());
  }

  private static int part(int total, int parts, int index) {
    return total / parts + (index < total % parts ? 1 : 0);
  }

  private void pass(Share share, Way how, int layers) {
    List<? extends List<? extends Projection>> projections = layouts.get(how.packedRows());
    for (Share chunk : chunks(share, how.chunkRows())) {
      for (int i = 0; i < layers; i++) {
        layer(projections.get(i), chunk, i == config.layers() - 1, how.block());
      }
    }
  }

  private List<Share> chunks(Share share, int chunkRows) {
    if (share.rows() != share.sequences() * length) {
      return List.of(share);
    }
    int prompts = Math.max(1, chunkRows / length);
    List<Share> chunks = new ArrayList<>();
    for (int done = 0; done < share.sequences(); done += prompts) {
      chunks.add(whole(Math.min(prompts, share.sequences() - done)));
    }
    return chunks;
  }

  private void layer(List<? extends Projection> projections, Share share, boolean last, int block) {
    for (Linear linear : Linear.values()) {
      if (linear == Linear.OUTPUT) {
        attention(share, last, block);
      }
      int rows = last && !linear.alwaysAllRows() ? share.markers() : share.rows();
      if (rows > 0) {
        // A scope for each product: the next one's result then takes the memory of this one's.
        try (TensorScope scope = new TensorScope()) {
          Tensor input = inputs.get(linear.inputWidth(config));
          projections.get(linear.ordinal()).apply(input.narrow(0, 0, rows));
        }
      }
    }
  }

  private void attention(Share share, boolean last, int block) {
    if (share.kvHeads() == 0) {
      return;
    }
    for (int sequence = 0; sequence < share.sequences(); sequence++) {
      if (last) {
        attention(share.kvHeads(), Workload.MARKERS, length);
        continue;
      }
      for (int begin = 0; begin < length; begin += block) {
        int rows = Math.min(block, length - begin);
        attention(share.kvHeads(), rows, begin + rows);
      }
    }
  }

  /** {@code (Q Kᵀ) V} for a block of queries; heads that share keys stand below each other in Q. */
  private void attention(int kvHeads, int rows, int visible) {
    try (TensorScope scope = new TensorScope()) {
      int groups = config.heads() / config.kvHeads();
      Tensor q = queries.narrow(0, 0, kvHeads).narrow(1, 0, (long) groups * rows);
      Tensor k = keys.narrow(0, 0, kvHeads).narrow(1, 0, visible);
      Tensor v = values.narrow(0, 0, kvHeads).narrow(1, 0, visible);
      torch.bmm(torch.bmm(q, k.transpose(1, 2)), v);
    }
  }

  /** Frees packed weights; those that are not packed belong to the caller. */
  private void freeLayoutsBut(int kept) {
    for (int packedRows : List.copyOf(layouts.keySet())) {
      if (packedRows != 0 && packedRows != kept) {
        layouts.remove(packedRows).forEach(layer -> layer.forEach(Projection::close));
      }
    }
  }

  @Override
  public void close() {
    narrowLanes.close();
    wideLane.close();
    freeLayoutsBut(0);
    inputs.values().forEach(Tensor::close);
    queries.close();
    keys.close();
    values.close();
  }
}
