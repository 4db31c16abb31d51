package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.benchmarks.Stopwatch.Spread;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.StorageType;
import io.llara.io.TemporaryPath;
import io.llara.kernels.NativeProjection;
import io.llara.kernels.PackedProjection;
import io.llara.kernels.Projection;
import io.llara.model.CheckpointWeights;
import io.llara.model.NativeParts;
import io.llara.model.Parts;
import io.llara.model.StoredParts;
import io.llara.prompt.Prompt;
import io.llara.tensor.Cpu;
import io.llara.tensor.TensorScope;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * How long one query takes that nobody else waits behind, in a warm encoder, and what of it is not
 * the bare products: the forward pass with the queue in front of it, and the tokenizer. The three
 * take turns within one process.
 *
 * <pre>{@code
 * QueryLatency [--rounds N] [--seconds S] [--lanes N] MODEL TYPE …
 * }</pre>
 *
 * <p>MODEL is a directory, or {@code SHAPE:DIR} for random weights of a {@link Shape} with the
 * tokenizer of a directory, such as {@code large:smollm2}. The products are those that the query
 * needs, by the same {@link Projection}s with the same number of threads, and nothing between them.
 */
public final class QueryLatency {
  private static final int TOKENS = 16;
  private static final String TEMPLATE = "llara-paper";

  private QueryLatency() {}

  /** Measures and prints a table. */
  public static void main(String[] args) throws IOException {
    Measuring measuring = Measuring.parse(args, 1);
    if (measuring.works().size() < 2) {
      System.err.println(
          "usage: QueryLatency [--rounds N] [--seconds S] [--lanes N] DIR|SHAPE:DIR TYPE …");
      System.exit(2);
    }
    try (TemporaryPath folder = TemporaryPath.folder("llara-latency")) {
      Path model = model(measuring.works().get(0), folder.path());
      System.out.println(Machine.describe());
      System.out.println(measuring);
      System.out.println(
          "| type | tokens | products, ms | ready prompt, ms | text, ms | text, times the products"
              + " (min–max) | tokenizer, ms |");
      System.out.println("|---|---:|---:|---:|---:|---|---:|");
      for (String type : measuring.works().subList(1, measuring.works().size())) {
        measure(model, Types.parse(type), measuring);
      }
    }
  }

  private static Path model(String name, Path folder) throws IOException {
    int colon = name.indexOf(':');
    if (colon < 0) {
      return Path.of(name);
    }
    RandomCheckpoint.write(folder, Shape.parse(name.substring(0, colon)).config(), StorageType.F32);
    Path tokenizer = Path.of(name.substring(colon + 1));
    for (String file : List.of("tokenizer.json", "tokenizer_config.json")) {
      Files.copy(tokenizer.resolve(file), folder.resolve(file));
    }
    return folder;
  }

  private static void measure(Path model, ComputeType type, Measuring measuring) {
    try (Encoder encoder =
            Encoder.builder(model)
                .template(TEMPLATE)
                .computeType(type)
                .threads(measuring.lanes())
                .build();
        Products products = new Products(model, type, measuring.lanes())) {
      String text = query(encoder);
      Prompt prompt = encoder.prompts().build(text, Mode.NEXT, Integer.MAX_VALUE);
      List<Double> bare = new ArrayList<>();
      List<Double> ready = new ArrayList<>();
      List<Double> whole = new ArrayList<>();
      List<Double> ratios = new ArrayList<>();
      List<Double> tokenizer = new ArrayList<>();
      for (int round = 0; round <= measuring.rounds(); round++) {
        double least = measuring.seconds();
        double a = Stopwatch.mean(least, () -> products.run(prompt));
        double b =
            Stopwatch.mean(
                least, () -> Stopwatch.seconds(() -> encoder.encodePrompt(prompt, Mode.NEXT)));
        double c =
            Stopwatch.mean(least, () -> Stopwatch.seconds(() -> encoder.encode(text, Mode.NEXT)));
        double d =
            Stopwatch.mean(
                least / 4,
                () ->
                    Stopwatch.seconds(
                        () -> encoder.prompts().build(text, Mode.NEXT, Integer.MAX_VALUE)));
        if (round > 0) { // The first is to warm up.
          bare.add(a * 1e3);
          ready.add(b * 1e3);
          whole.add(c * 1e3);
          ratios.add(c / a);
          tokenizer.add(d * 1e3);
        }
      }
      System.out.printf(
          Locale.ROOT,
          "| %s | %d | %.3f | %.3f | %.3f | %s | %.3f |%n",
          Types.name(type),
          prompt.length(),
          Spread.of(bare).median(),
          Spread.of(ready).median(),
          Spread.of(whole).median(),
          Spread.of(ratios),
          Spread.of(tokenizer).median());
    }
  }

  /**
   * Returns words whose prompt has {@value #TOKENS} tokens, or as few more as the template lets.
   */
  private static String query(Encoder encoder) {
    StringBuilder text = new StringBuilder("a");
    while (encoder.countTokens(text.toString(), Mode.NEXT) < TOKENS) {
      text.append(" a");
    }
    return text.toString();
  }

  /** The products of a model, on one thread of its own that may use others, as a lane may. */
  private static final class Products implements AutoCloseable {
    private final LlamaConfig config;
    private final ScalarType type;
    private final List<List<Projection>> layers = new ArrayList<>();
    private final Map<Long, Tensor> inputs = new HashMap<>();
    private final LaneThreads lane;

    Products(Path model, ComputeType computeType, int threads) {
      CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
      config = checkpoint.config();
      type = Cpu.scalarType(computeType);
      lane = new LaneThreads(1, threads);
      try (CheckpointWeights weights = new CheckpointWeights(checkpoint, null, true)) {
        Parts parts =
            computeType == ComputeType.INT8
                    || computeType == ComputeType.BFLOAT16 && NativeProjection.available(type)
                ? new NativeParts(weights, type)
                : new StoredParts(weights, type, PackedProjection.available(type), TOKENS);
        for (int layer = 0; layer < config.layers(); layer++) {
          String name = "layers." + layer + ".";
          layers.add(
              List.of(
                  parts.projection(name + "self_attn.k_proj"),
                  parts.projection(name + "self_attn.v_proj"),
                  parts.projection(name + "self_attn.q_proj"),
                  parts.projection(name + "self_attn.o_proj"),
                  parts.projection(name + "mlp.gate_proj"),
                  parts.projection(name + "mlp.up_proj"),
                  parts.projection(name + "mlp.down_proj")));
        }
      }
    }

    /** Runs all of a prompt's products once and returns the seconds they took. */
    double run(Prompt prompt) {
      return lane.run(List.of(() -> multiply(prompt)));
    }

    private void multiply(Prompt prompt) {
      int hidden = config.hiddenSize();
      int[] widths = {
        hidden, hidden, hidden, config.queryWidth(), hidden, hidden, config.intermediateSize()
      };
      int pooled = prompt.pooled(Mode.NEXT).length();
      for (int layer = 0; layer < layers.size(); layer++) {
        boolean last = layer == layers.size() - 1;
        for (int i = 0; i < widths.length; i++) {
          // Of the last layer only keys and values are made for all rows.
          long rows = last && i > 1 ? pooled : prompt.length();
          try (TensorScope scope = new TensorScope()) {
            layers.get(layer).get(i).apply(input(rows, widths[i]));
          }
        }
      }
    }

    private Tensor input(long rows, long width) {
      return inputs.computeIfAbsent(
          rows << 32 | width,
          key -> {
            try (TensorScope scope = new TensorScope()) {
              return scope.own(torch.randn(new long[] {rows, width}, new TensorOptions(type)));
            }
          });
    }

    @Override
    public void close() {
      lane.close();
      inputs.values().forEach(Tensor::close);
      layers.forEach(projections -> projections.forEach(Projection::close));
    }
  }
}
