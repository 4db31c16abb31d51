package io.llara.benchmarks;

import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/**
 * How fast all inner products of queries and passages could be computed: the blocked matrix product
 * in float32 and nothing else. Passages lie in memory, results are written over one another.
 *
 * <p>Several ways are tried on some of the passages, and the fastest is taken: a lane per core with
 * one thread each, blocks of passages dealt out among them, or one lane whose products use all
 * cores; blocks of 256 to 8,192 passages. Lanes do not wait for each other.
 */
final class BareProducts implements AutoCloseable {
  private static final List<Integer> BLOCKS = List.of(256, 512, 1024, 2048, 4096, 8192);

  /** So many passages, at most, are multiplied to compare ways. */
  private static final int PROBED_PASSAGES = 16_384;

  /**
   * One way to run the products.
   *
   * @param wide whether one lane uses all cores, instead of a lane for each
   * @param block how many passages are multiplied at once
   */
  private record Way(boolean wide, int block) {}

  private final int count;
  private final int lanes;
  private final LaneThreads narrowLanes;
  private final LaneThreads wideLane;
  private final Tensor queries;
  private final Tensor passages;

  /** Where a lane's products go. */
  private final List<Tensor> results = new ArrayList<>();

  private final Way way;

  /** Makes random vectors and looks for the fastest way to multiply them. */
  BareProducts(int queryCount, int passageCount, int dimension, int lanes) {
    this.count = passageCount;
    this.lanes = lanes;
    this.narrowLanes = new LaneThreads(lanes, 1);
    this.wideLane = new LaneThreads(1, lanes);
    try (TensorScope scope = new TensorScope()) {
      TensorOptions options = new TensorOptions(torch.ScalarType.Float);
      queries = scope.own(torch.randn(new long[] {queryCount, dimension}, options));
      passages = scope.own(torch.randn(new long[] {passageCount, dimension}, options));
      long most = (long) queryCount * BLOCKS.get(BLOCKS.size() - 1);
      for (int i = 0; i < lanes; i++) {
        results.add(scope.own(torch.empty(new long[] {most}, options, null)));
      }
    }
    this.way = fastest();
  }

  /** Returns the way that was found to be the fastest, in words. */
  String describeWay() {
    return "%s, blocks of %d passages"
        .formatted(
            way.wide() ? "1 lane × " + lanes + " threads" : lanes + " lanes × 1 thread",
            way.block());
  }

  /** Computes all products once and returns the seconds it took. */
  double run() {
    return run(way, count);
  }

  private Way fastest() {
    Map<Way, Double> seconds = new HashMap<>();
    for (int block : BLOCKS) {
      for (boolean wide : new boolean[] {false, true}) {
        Way one = new Way(wide, block);
        int probed = Math.min(count, PROBED_PASSAGES);
        run(one, probed);
        double shortest = Math.min(run(one, probed), Math.min(run(one, probed), run(one, probed)));
        seconds.put(one, shortest);
      }
    }
    return seconds.keySet().stream().min(Comparator.comparingDouble(seconds::get)).orElseThrow();
  }

  private double run(Way how, int passageCount) {
    int blocks = (passageCount + how.block() - 1) / how.block();
    int workers = how.wide() ? 1 : lanes;
    List<Runnable> tasks =
        IntStream.range(0, workers)
            .mapToObj(
                lane ->
                    (Runnable)
                        () -> {
                          for (int i = lane; i < blocks; i += workers) {
                            multiply(lane, i * how.block(), how.block(), passageCount);
                          }
                        })
            .toList();
    return (how.wide() ? wideLane : narrowLanes).run(tasks);
  }

  private void multiply(int lane, int begin, int block, int passageCount) {
    try (TensorScope scope = new TensorScope()) {
      int rows = Math.min(block, passageCount - begin);
      long[] shape = {queries.size(0), rows};
      Tensor result = results.get(lane).narrow(0, 0, shape[0] * shape[1]).view(shape);
      torch.mm_out(result, queries, passages.narrow(0, begin, rows).t());
    }
  }

  @Override
  public void close() {
    narrowLanes.close();
    wideLane.close();
    queries.close();
    passages.close();
    results.forEach(Tensor::close);
  }
}
