package io.llara.benchmarks;

import static java.util.Objects.requireNonNull;

import io.llara.Mode;
import io.llara.benchmarks.Stopwatch.Spread;
import io.llara.checkpoint.LlamaConfig;
import io.llara.engine.EncodingEngine;
import io.llara.kernels.Accelerator;
import io.llara.kernels.Accelerators;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.tensor.Libtorch;
import io.llara.tensor.NvidiaDriver;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * What a device makes of this library, as rows of a Markdown table: its kernels against float64,
 * its memory over many encodes, and speeds of a model of random weights beside those of Python's
 * transformers on the same device, in turns within one run.
 *
 * <pre>{@code
 * GpuCheck [--device D] [--shape S] [--type T] [--tokens N] [--encodes N] [--rounds N]
 *     [--peer PYTHON:SCRIPT:ATTENTION] …
 * }</pre>
 *
 * <p>Exit code 1 if a check that has a limit is beyond it. It also runs on the processor, with a
 * small shape, to be tried out.
 */
public final class GpuCheck {
  private static final int[] LENGTHS = {128, 512};
  private static final int QUERY = 16;
  private static final int QUERY_REPEATS = 100;
  private static final int SUFFIX = 8;
  private static final double ALLOWED_GROWTH_MIB = 32;

  private final GpuCheckOptions options;
  private final CheckTable table = new CheckTable(System.out);

  private GpuCheck(GpuCheckOptions options) {
    this.options = options;
  }

  /** Runs all checks. */
  public static void main(String[] args) throws IOException {
    GpuCheckOptions options = GpuCheckOptions.parseOrExit("GpuCheck", args);
    System.exit(new GpuCheck(options).run() ? 0 : 1);
  }

  private boolean run() throws IOException {
    Libtorch.load();
    Optional<Accelerator> device = Accelerators.open(options.device());
    table.row("device", device.map(Accelerator::name).orElse("cpu: " + Machine.cpu()));
    table.row("libtorch", Libtorch.version());
    table.row("driver", NvidiaDriver.version().orElse("none"));
    new KernelCheck(device, table).run();
    LlamaConfig config = options.shape().config();
    try (DeviceProducts products = new DeviceProducts(device, options.type());
        Peers peers = new Peers(options, config)) {
      double rate = products.rate();
      table.row("matrix rate, TFLOP/s", "%.2f", rate / 1e12);
      try (EncodingEngine engine =
          EncodingEngine.builder()
              .device(options.device())
              .computeType(options.type())
              .maxTokens(Workload.MAX_TOKENS + SUFFIX)
              .open(config, new LayerWeights(config))) {
        for (int length : LENGTHS) {
          throughput(engine, peers, rate, length);
        }
        joint(engine);
        query(engine, peers);
        device.ifPresent(accelerator -> memory(engine, accelerator));
      }
      device.ifPresent(accelerator -> several(config, accelerator));
    }
    return table.allHold();
  }

  private void throughput(EncodingEngine engine, Peers peers, double rate, int length) {
    int batch = Math.max(1, options.tokens() / length);
    Workload workload = Workload.of(batch, length, engine.config().vocabularySize());
    workload.check(engine);
    List<Double> ours = new ArrayList<>();
    List<List<Double>> theirs = new ArrayList<>();
    for (Peers.Peer peer : peers.all()) {
      peer.seconds(batch, length, 2);
      theirs.add(new ArrayList<>());
    }
    for (int round = 0; round < options.rounds(); round++) {
      ours.add(workload.tokens() / Stopwatch.seconds(() -> workload.encode(engine)));
      for (int i = 0; i < theirs.size(); i++) {
        theirs.get(i).add(workload.tokens() / peers.all().get(i).seconds(batch, length, 1).get(0));
      }
    }
    String what = "%d × %d tokens".formatted(batch, length);
    double speed = Spread.of(ours).median();
    table.row(
        what + ": tokens/s",
        "%.0f (%.0f–%.0f)",
        speed,
        Spread.of(ours).min(),
        Spread.of(ours).max());
    double share = speed * flopsPerToken(engine.config(), length) / rate;
    speed(what + ": share of the matrix rate", share, 0.65);
    for (int i = 0; i < theirs.size(); i++) {
      String name = what + ": transformers, " + peers.all().get(i).name();
      Spread spread = Spread.of(theirs.get(i));
      table.row(
          name + ", tokens/s", "%.0f (%.0f–%.0f)", spread.median(), spread.min(), spread.max());
      speed(what + ": times " + peers.all().get(i).name(), speed / spread.median(), 1.3);
    }
  }

  /** Limits are for the large shape; small ones are there to try this program out. */
  private void speed(String what, double value, double least) {
    if (options.shape() == Shape.LLAMA2_7B) {
      table.atLeast(what, value, least);
    } else {
      table.value(what, value);
    }
  }

  /** The products of the projections alone: attention comes on top, so that the share is low. */
  private static double flopsPerToken(LlamaConfig config, int length) {
    double hidden = config.hiddenSize();
    double keysAndValues = 2.0 * hidden * config.keyValueWidth();
    double others = 2.0 * hidden * config.queryWidth() + 3.0 * hidden * config.intermediateSize();
    // In the last layer these are computed for the pooled rows only.
    double layers = config.layers() - 1 + (double) Workload.MARKERS / length;
    return 2 * (config.layers() * keysAndValues + layers * others);
  }

  /** The same texts as SELF alone and as SELF and NEXT in one prompt. */
  private void joint(EncodingEngine engine) {
    int length = 512;
    int batch = Math.max(1, options.tokens() / length);
    int[] markers = IntStream.range(2, 2 + SUFFIX).toArray();
    PromptBuilder builder = PromptBuilder.ofIds(new int[] {1}, markers, markers, SUFFIX);
    SplittableRandom random = new SplittableRandom(1);
    List<int[]> texts =
        Stream.generate(
                () ->
                    random
                        .ints(length - 1 - SUFFIX, 2 + SUFFIX, engine.config().vocabularySize())
                        .toArray())
            .limit(batch)
            .toList();
    List<Prompt> alone = texts.stream().map(ids -> builder.fromIds(ids, Mode.SELF)).toList();
    List<Prompt> both = texts.stream().map(builder::jointFromIds).toList();
    engine.encode(alone);
    engine.encode(both);
    List<Double> ratios = new ArrayList<>();
    for (int round = 0; round < options.rounds(); round++) {
      double one = Stopwatch.seconds(() -> engine.encode(alone));
      ratios.add(Stopwatch.seconds(() -> engine.encode(both)) / one);
    }
    String what = "SELF and NEXT in one prompt, times SELF alone of 512 tokens";
    double ratio = Spread.of(ratios).median();
    if (options.shape() == Shape.LLAMA2_7B) {
      table.atMost(what, ratio, 1.15);
    } else {
      table.value(what, ratio);
    }
  }

  /** All devices of the kind at once, beside one of them, with as much work for each. */
  private void several(LlamaConfig config, Accelerator one) {
    String kind = one.name().replaceFirst(":.*", "");
    int count = requireNonNull(Accelerators.providers().get(kind)).count();
    String what = "passages of 512 tokens, several devices: times one";
    if (count < 2) {
      table.row(what, "not run: there is one");
      return;
    }
    double single = speed(config, one.name(), 1);
    table.row(what, "%.2f (%d devices)", speed(config, kind + ":all", count) / single, count);
  }

  /** Returns the median of tokens per second. */
  private double speed(LlamaConfig config, String devices, int count) {
    int length = 512;
    Workload workload =
        Workload.of(
            Math.max(1, count * options.tokens() / length), length, config.vocabularySize());
    try (EncodingEngine engine =
        EncodingEngine.builder()
            .device(devices)
            .computeType(options.type())
            .maxTokens(Workload.MAX_TOKENS + SUFFIX)
            .open(config, new LayerWeights(config))) {
      workload.check(engine);
      List<Double> speeds = new ArrayList<>();
      for (int round = 0; round < options.rounds(); round++) {
        speeds.add(workload.tokens() / Stopwatch.seconds(() -> workload.encode(engine)));
      }
      return Spread.of(speeds).median();
    }
  }

  private void query(EncodingEngine engine, Peers peers) {
    Workload one = Workload.of(1, QUERY, engine.config().vocabularySize());
    one.check(engine);
    List<Double> seconds = new ArrayList<>();
    for (int i = 0; i < QUERY_REPEATS; i++) {
      seconds.add(Stopwatch.seconds(() -> one.encode(engine)));
    }
    table.row("a query of 16 tokens, p50, ms", "%.2f", Spread.of(seconds).median() * 1e3);
    for (Peers.Peer peer : peers.all()) {
      peer.seconds(1, QUERY, QUERY_REPEATS / 10);
      double median = Spread.of(peer.seconds(1, QUERY, QUERY_REPEATS)).median();
      table.row(
          "a query of 16 tokens: transformers, " + peer.name() + ", p50, ms", "%.2f", median * 1e3);
    }
  }

  /** The first quarter lets the allocator see every size of batch. */
  private void memory(EncodingEngine engine, Accelerator accelerator) {
    SplittableRandom random = new SplittableRandom(2);
    int call = 20;
    long settled = 0;
    for (int done = 0; done < options.encodes(); done += call) {
      int[] lengths = random.ints(call, Workload.MARKERS + 2, 129).toArray();
      Workload.of(lengths, engine.config().vocabularySize()).encode(engine);
      if (done <= options.encodes() / 4) {
        settled = accelerator.driverFreeBytes();
      }
    }
    double growth = settled - accelerator.driverFreeBytes();
    table.atMost(
        "growth of the device's memory over %d encodes, MiB".formatted(options.encodes()),
        growth / (1 << 20),
        ALLOWED_GROWTH_MIB);
  }
}
