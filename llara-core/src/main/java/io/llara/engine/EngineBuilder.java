package io.llara.engine;

import static java.util.Objects.requireNonNull;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.LlaraException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LoraAdapter;
import io.llara.checkpoint.gguf.GgufImporter;
import io.llara.kernels.Accelerator;
import io.llara.kernels.Accelerators;
import io.llara.kernels.FusedKernels;
import io.llara.kernels.Kernels;
import io.llara.kernels.NativeProjection;
import io.llara.kernels.PackedProjection;
import io.llara.kernels.Projection;
import io.llara.model.CheckpointWeights;
import io.llara.model.DeviceParts;
import io.llara.model.GgufWeightSource;
import io.llara.model.LlamaFactory;
import io.llara.model.LlamaModel;
import io.llara.model.NativeParts;
import io.llara.model.Parts;
import io.llara.model.StoredParts;
import io.llara.model.WeightSource;
import io.llara.tensor.Cpu;
import io.llara.tensor.Libtorch;
import io.llara.tensor.Memory;
import io.llara.tensor.Tensors;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Settings of an engine, all of them optional, and the loading of its model. */
public final class EngineBuilder {
  private static final Logger LOG = LoggerFactory.getLogger(EngineBuilder.class);

  /** More threads than any machine has cores. */
  private static final int MOST_THREADS = 1024;

  /** Far beyond the context of any model, and small enough for the table of rotary angles. */
  private static final int MOST_TOKENS = 1 << 20;

  /** Weights that could stay in their files are not copied into a faster layout beyond this. */
  private static final long LARGEST_COPY = 8L << 30;

  /** Rows that fill a GPU, by default; not measured. */
  private static final int DEVICE_ROWS = 8192;

  private static final int DEVICE_LANES = 2;

  private ComputeType computeType = ComputeType.AUTO;
  private @Nullable Integer threads;
  private @Nullable Integer batchTokens;
  private int maxTokens = 512;
  private boolean copyWeights;
  private @Nullable Boolean packWeights;
  private @Nullable Path adapter;
  private String device = Accelerators.CPU;

  EngineBuilder() {}

  /** Sets the type to compute in; {@code AUTO} by default. */
  public EngineBuilder computeType(ComputeType type) {
    this.computeType = type;
    return this;
  }

  /**
   * Sets the number of lanes, threads that run forward passes; by default one per processor, or two
   * for each device beside it, for each of which this is the number: what one does on the
   * processor, the other's work on the device hides.
   */
  public EngineBuilder threads(int count) {
    this.threads = count;
    return this;
  }

  /**
   * Sets the largest number of rows of one forward pass, unless a single prompt is longer; by
   * default as many as suit the compute type.
   */
  public EngineBuilder batchTokens(int tokens) {
    this.batchTokens = tokens;
    return this;
  }

  /** Sets the longest prompt; 512 tokens by default. */
  public EngineBuilder maxTokens(int tokens) {
    this.maxTokens = tokens;
    return this;
  }

  /** Sets whether weights are copied out of their files instead of mapped; false by default. */
  public EngineBuilder copyWeights(boolean copy) {
    this.copyWeights = copy;
    return this;
  }

  /**
   * Sets whether projections are packed for this processor; by default they are unless a copy of
   * what could stay in its files would be too large. Packed integers stay integers in bfloat16 too,
   * where the processor has a matrix unit; others become bfloat16.
   */
  public EngineBuilder packWeights(boolean pack) {
    this.packWeights = pack;
    return this;
  }

  /** Sets the directory of a LoRA adapter to merge; null for none. */
  public EngineBuilder adapter(@Nullable Path directory) {
    this.adapter = directory;
    return this;
  }

  /**
   * Sets the devices to compute on, as {@link Accelerators#openAll}; the processor by default.
   * Several have a copy of the model each and share the batches.
   */
  public EngineBuilder device(String name) {
    this.device = name;
    return this;
  }

  /** Returns what is out of range among these settings, one sentence each. */
  public List<String> problems() {
    List<String> problems = new ArrayList<>();
    requireWithin("threads", threads, MOST_THREADS, problems);
    requireWithin("batchTokens", batchTokens, MOST_TOKENS, problems);
    requireWithin("maxTokens", maxTokens, MOST_TOKENS, problems);
    if (!Accelerators.isName(device)) {
      problems.add(
          "device is \""
              + device
              + "\"; expected cpu, auto, cuda, or such as cuda:0, cuda:0,1 or cuda:all");
    }
    return problems;
  }

  /** Adds a sentence to {@code problems} if a value is set and not from 1 to {@code most}. */
  public static void requireWithin(
      String name, @Nullable Integer value, int most, List<String> problems) {
    if (value != null && (value < 1 || value > most)) {
      problems.add(name + " is " + value + "; expected a number from 1 to " + most);
    }
  }

  /**
   * Loads the model of a checkpoint and starts its lanes.
   *
   * @throws IllegalArgumentException if settings are out of range
   * @throws LlaraException if the weights or the adapter cannot be loaded
   */
  public EncodingEngine open(CheckpointDirectory checkpoint) {
    return open(checkpoint, checkpoint.config());
  }

  /**
   * Loads the model of a GGUF file and starts its lanes. Matrices of Q8_0 and Q4_0 stay integers
   * where integers are computed with; otherwise as {@link #open(LlamaConfig, WeightSource)}.
   */
  public EncodingEngine open(GgufImporter gguf) {
    return open(gguf.config(), new GgufWeightSource(gguf.weights(), gguf.config()));
  }

  /** Loads the model of a checkpoint with another configuration; otherwise as {@link #open}. */
  public EncodingEngine open(CheckpointDirectory checkpoint, LlamaConfig config) {
    Libtorch.load();
    LoraAdapter lora = adapter == null ? null : LoraAdapter.open(adapter, config);
    Supplier<Projection> head =
        () -> {
          try (CheckpointWeights weights = new CheckpointWeights(checkpoint, lora, false)) {
            return LlamaFactory.head(config, weights, ScalarType.Float);
          }
        };
    try (CheckpointWeights weights = new CheckpointWeights(checkpoint, lora, copyWeights)) {
      return open(config, weights, head);
    }
  }

  /**
   * Builds a model from any source of weights and starts its lanes; such an engine has no {@link
   * EncodingEngine#logits}.
   *
   * @throws UnsupportedModelException if an adapter is set, which is merged into a checkpoint only
   */
  public EncodingEngine open(LlamaConfig config, WeightSource weights) {
    if (adapter != null) {
      throw new UnsupportedModelException(
          "%s: an adapter is merged into a model directory only; 'llara import FILE DIR' makes one of a GGUF file"
              .formatted(adapter));
    }
    return open(
        config,
        weights,
        () -> {
          throw new UnsupportedOperationException("this engine was made without a checkpoint");
        });
  }

  private EncodingEngine open(LlamaConfig config, WeightSource weights, Supplier<Projection> head) {
    List<String> problems = problems();
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(String.join("; ", problems));
    }
    Libtorch.load();
    List<Accelerator> devices = Accelerators.openAll(device);
    return devices.isEmpty()
        ? openOnProcessor(config, weights, head)
        : openOn(devices, config, weights, head);
  }

  private EncodingEngine openOnProcessor(
      LlamaConfig config, WeightSource weights, Supplier<Projection> head) {
    ComputeType resolved = resolve(config, weights);
    if (resolved == ComputeType.BFLOAT16 && !Cpu.multipliesBfloat16()) {
      LOG.warn(
          "this processor does not multiply bfloat16 natively; float32 would be several times"
              + " faster");
    }
    if (resolved == ComputeType.INT8 && !NativeProjection.available(ScalarType.Float)) {
      throw new LlaraException(
          "int8 is computed by this library's own kernels, which there are for Linux on x86 with"
              + " AVX2 (property io.llara.kernels unset); float32 works here");
    }
    ScalarType type = Cpu.scalarType(resolved);
    // Measured: fewer rows read the weights more often, more rows fall out of the processor's cache
    // between two operations. Rows of half the size, multiplied faster, want twice as many.
    int suitable = resolved == ComputeType.BFLOAT16 ? 1024 : 512;
    int rows = batchTokens == null ? suitable : batchTokens;
    int lanes = threads == null ? Runtime.getRuntime().availableProcessors() : threads;
    Parts parts = parts(config, weights, resolved, rows);
    LlamaModel model = build(config, parts, FusedKernels.orLibtorch(resolved), type);
    // Weights that were rearranged left holes behind, each too small for the next of them.
    Pointer.trimMemory();
    LOG.debug("{}, {} lanes, {}", resolved, lanes, parts);
    return new EncodingEngine(
        List.of(new Replica(model, null)), head, resolved, maxTokens, new WorkQueue(lanes, rows));
  }

  private Parts parts(LlamaConfig config, WeightSource weights, ComputeType resolved, int rows) {
    ScalarType type = Cpu.scalarType(resolved);
    if (resolved == ComputeType.INT8) {
      return new NativeParts(weights, type);
    }
    boolean packed = packs(config, weights, type);
    return packed && type == ScalarType.BFloat16 && NativeProjection.available(type)
        ? new NativeParts(weights, type)
        : new StoredParts(weights, type, packed && PackedProjection.available(type), rows);
  }

  private ComputeType resolve(LlamaConfig config, WeightSource weights) {
    ComputeType resolved = Cpu.resolve(computeType);
    boolean integers =
        computeType == ComputeType.AUTO
            && NativeProjection.preferredForIntegers()
            && weights.isQuantized(LlamaTensors.EMBEDDING)
            && projections(config).allMatch(weights::isQuantized);
    return integers ? ComputeType.INT8 : resolved;
  }

  private static Stream<String> projections(LlamaConfig config) {
    return LlamaTensors.required(config).keySet().stream().filter(LlamaTensors::isProjection);
  }

  private EncodingEngine openOn(
      List<Accelerator> devices,
      LlamaConfig config,
      WeightSource weights,
      Supplier<Projection> head) {
    ComputeType resolved = resolve(devices);
    int rows = batchTokens == null ? DEVICE_ROWS : batchTokens;
    int lanes = threads == null ? DEVICE_LANES : threads;
    DeviceMemory needed =
        DeviceMemory.estimate(config, resolved, maxTokens, Math.max(rows, maxTokens), lanes);
    devices.forEach(needed::requireFits);
    List<Replica> replicas = new ArrayList<>();
    try {
      devices.forEach(
          each -> replicas.add(new Replica(buildOn(each, config, weights, resolved), each)));
    } catch (RuntimeException | Error e) {
      replicas.forEach(Replica::close);
      throw e;
    }
    LOG.debug("{} on {}, {} lanes each", resolved, Accelerators.name(devices), lanes);
    return new EncodingEngine(
        replicas, head, resolved, maxTokens, new WorkQueue(lanes * devices.size(), rows));
  }

  /** Vectors must not depend on which of several devices a text meets. */
  private ComputeType resolve(List<Accelerator> devices) {
    ComputeType first = devices.get(0).resolve(computeType);
    for (Accelerator each : devices) {
      ComputeType type = each.resolve(computeType);
      if (type != first) {
        throw new DeviceException(
            "%s computes in %s, %s in %s; choose a compute type that suits both"
                .formatted(devices.get(0).name(), name(first), each.name(), name(type)));
      }
    }
    return first;
  }

  private static String name(ComputeType type) {
    return type.name().toLowerCase(Locale.ROOT);
  }

  private LlamaModel buildOn(
      Accelerator accelerator, LlamaConfig config, WeightSource weights, ComputeType type) {
    try (Accelerator.Lane lane = accelerator.openLane()) {
      Parts parts = new DeviceParts(weights, type, accelerator);
      return build(config, parts, accelerator.kernels(), Tensors.scalarType(type));
    } catch (DeviceException e) {
      throw e;
    } catch (RuntimeException e) {
      throw accelerator.explain(e).map(RuntimeException.class::cast).orElse(e);
    }
  }

  private LlamaModel build(LlamaConfig config, Parts parts, Kernels kernels, ScalarType type) {
    long begin = System.nanoTime();
    LlamaModel model = LlamaFactory.build(config, parts, kernels, type, maxTokens);
    LOG.debug(
        "loaded {} layers in {} ms", config.layers(), (System.nanoTime() - begin) / 1_000_000);
    return model;
  }

  /**
   * Packed projections are a copy of the weights in a faster layout. Weights that can be views of
   * their files and are more than a quarter of the memory, or very large, are left as they are:
   * there they share their pages with other processes and are ready at once.
   */
  private boolean packs(LlamaConfig config, WeightSource weights, ScalarType type) {
    if (packWeights != null) {
      return packWeights;
    }
    long views = 0;
    Map<String, long[]> shapes = LlamaTensors.required(config);
    for (String name : projections(config).toList()) {
      if (!copyWeights && !weights.isQuantized(name) && weights.storedType(name, type) == type) {
        long[] shape = requireNonNull(shapes.get(name));
        views += shape[0] * shape[1] * torch.elementSize(type);
      }
    }
    return views <= Math.min(Memory.physicalBytes() / 4, LARGEST_COPY);
  }
}
