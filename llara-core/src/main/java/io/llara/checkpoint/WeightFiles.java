package io.llara.checkpoint;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Finds the tensors of a checkpoint, gives them their canonical names, checks the set. */
public final class WeightFiles {
  public static final String SINGLE_FILE = "model.safetensors";
  public static final String INDEX_FILE = "model.safetensors.index.json";

  /** A plain file name: an index must not lead out of its directory. */
  private static final Pattern SHARD_NAME = Pattern.compile("\\w[\\w .+=-]{0,200}\\.safetensors");

  private final Path dir;
  private final Optional<Quantization> quantization;
  private final Map<String, TensorEntry> found = new LinkedHashMap<>();
  private final Map<String, TensorEntry> scales = new LinkedHashMap<>();

  private WeightFiles(Path dir, Optional<Quantization> quantization) {
    this.dir = dir;
    this.quantization = quantization;
  }

  /**
   * Weights and the scales of those that are quantised, by the weights' canonical names; both
   * unmodifiable.
   */
  record Found(Map<String, TensorEntry> tensors, Map<String, TensorEntry> scales) {}

  /** Returns the weights of a checkpoint. */
  static Found read(Path dir, LlamaConfig config, Optional<Quantization> quantization) {
    WeightFiles files = new WeightFiles(dir, quantization);
    if (Files.exists(dir.resolve(SINGLE_FILE))) {
      files.addFile(dir.resolve(SINGLE_FILE));
    } else if (Files.exists(dir.resolve(INDEX_FILE))) {
      files.addShards(dir.resolve(INDEX_FILE));
    } else {
      throw files.noWeights();
    }
    return new Found(files.checked(config), Collections.unmodifiableMap(files.scales));
  }

  /** Fails unless the tensor has the shape and a type to compute with. */
  static void check(TensorEntry entry, String storedName, long[] shape) {
    if (!entry.hasShape(shape)) {
      throw new ModelLoadException(
          "%s: tensor %s has shape %s; %s expects %s"
              .formatted(
                  entry.file(),
                  Messages.quote(storedName),
                  Arrays.toString(entry.shape()),
                  CheckpointDirectory.CONFIG,
                  Arrays.toString(shape)));
    }
    if (!entry.type().isWeightType()) {
      throw new UnsupportedModelException(
          "%s: tensor %s has type %s; supported: F32, F16, BF16"
              .formatted(entry.file(), Messages.quote(storedName), entry.type()));
    }
  }

  private SafetensorsFile addFile(Path file) {
    SafetensorsFile shard = SafetensorsFile.open(file);
    for (TensorEntry entry : shard.entries().values()) {
      // Old LLaMA-2 exports carry the rotary frequencies; they follow from the configuration.
      if (entry.name().endsWith(".rotary_emb.inv_freq")) {
        continue;
      }
      String name = LlamaTensors.canonicalName(entry.name());
      TensorEntry before = found.putIfAbsent(name, entry.withName(name));
      if (before != null) {
        throw new ModelLoadException(
            "%s: tensor %s is already in %s"
                .formatted(file, Messages.quote(entry.name()), before.file().getFileName()));
      }
    }
    return shard;
  }

  private void addShards(Path index) {
    Map<String, SafetensorsFile> shards = new HashMap<>();
    shardOfTensor(index)
        .forEach(
            (tensor, shard) -> {
              SafetensorsFile file =
                  shards.computeIfAbsent(shard, name -> addFile(dir.resolve(name)));
              if (!file.entries().containsKey(tensor)) {
                throw new ModelLoadException(
                    "%s: has no tensor %s, which %s says it holds"
                        .formatted(file.path(), Messages.quote(tensor), INDEX_FILE));
              }
            });
  }

  /**
   * Returns the names of the files that an index lists, each once; they lie beside it.
   *
   * @throws ModelLoadException if it is not an index, or a name is not that of a safetensors file
   */
  public static Set<String> shards(Path index) {
    return new LinkedHashSet<>(shardOfTensor(index).values());
  }

  private static Map<String, String> shardOfTensor(Path index) {
    JsonSection json = StrictJson.modelFile(index);
    Map<String, String> shardOfTensor =
        json.section("weight_map")
            .orElseThrow(() -> json.missing("weight_map", "an object of tensor and file names"))
            .allStrings();
    shardOfTensor.forEach((tensor, shard) -> requireShardName(index, tensor, shard));
    return shardOfTensor;
  }

  private static void requireShardName(Path index, String tensor, String name) {
    if (!SHARD_NAME.matcher(name).matches()) {
      throw new ModelLoadException(
          ("%s: tensor %s is listed in %s; "
                  + "expected the name of a .safetensors file of the same directory")
              .formatted(index, Messages.quote(tensor), Messages.quote(name)));
    }
  }

  private Map<String, TensorEntry> checked(LlamaConfig config) {
    Map<String, TensorEntry> tensors = new LinkedHashMap<>();
    LlamaTensors.required(config)
        .forEach(
            (name, shape) -> {
              TensorEntry entry = take(name, shape);
              if (entry == null) {
                throw new ModelLoadException(
                    "%s: tensor %s of shape %s is missing from the weights"
                        .formatted(dir, Messages.quote(name), Arrays.toString(shape)));
              }
              tensors.put(name, entry);
            });
    TensorEntry head = take(LlamaTensors.HEAD, LlamaTensors.headShape(config));
    if (head != null) {
      if (!config.tieWordEmbeddings()) {
        tensors.put(LlamaTensors.HEAD, head);
      }
    }
    refuseRest(config);
    return Collections.unmodifiableMap(tensors);
  }

  /** Takes a weight of this name out of what was found, with its scales if it is quantised. */
  private @Nullable TensorEntry take(String name, long[] shape) {
    String scalesName = Quantization.scalesName(name);
    TensorEntry scale = found.remove(scalesName);
    if (scale == null || quantization.isEmpty() || shape.length != 2) {
      TensorEntry entry = found.remove(name);
      if (entry != null) {
        check(entry, name, shape);
      }
      return entry;
    }
    Quantization scheme = quantization.get();
    if (!scheme.fits(name, shape)) {
      throw new UnsupportedModelException(
          "%s: tensor %s has rows of %d; expected a multiple of 8 and of the groups of %d"
              .formatted(scale.file(), Messages.quote(name), shape[1], scheme.group(shape[1])));
    }
    check(scale, scalesName, scheme.scalesShape(shape));
    String stored = scheme.integersName(name);
    TensorEntry integers = found.remove(stored);
    if (integers == null) {
      throw new ModelLoadException(
          "%s: tensor %s is missing beside its scales"
              .formatted(scale.file(), Messages.quote(stored)));
    }
    StorageType type = scheme.integersType(name);
    long[] expected = scheme.integersShape(name, shape);
    if (integers.type() != type || !integers.hasShape(expected)) {
      throw new ModelLoadException(
          "%s: tensor %s is %s of shape %s; expected %s of shape %s"
              .formatted(
                  integers.file(),
                  Messages.quote(stored),
                  integers.type(),
                  Arrays.toString(integers.shape()),
                  type,
                  Arrays.toString(expected)));
    }
    found.remove(Quantization.shapeName(name)); // It repeats what config.json implies.
    scales.put(name, scale.withName(scalesName));
    return integers.withName(name);
  }

  /** A weight that would be ignored means another model than the one its author made. */
  private void refuseRest(LlamaConfig config) {
    found.values().stream()
        .findFirst()
        .ifPresent(
            entry -> {
              throw new UnsupportedModelException(
                  "%s: tensor %s has no place in a %s of %d layers%s; such a model is not supported"
                      .formatted(
                          entry.file(),
                          Messages.quote(entry.name()),
                          config.architecture(),
                          config.layers(),
                          config.attentionBias() ? "" : " without attention_bias"));
            });
  }

  private ModelLoadException noWeights() {
    String expected = "expected %s or %s".formatted(SINGLE_FILE, INDEX_FILE);
    try (DirectoryStream<Path> others =
        Files.newDirectoryStream(dir, "*.{bin,pt,pth,ckpt,gguf,h5,msgpack,safetensors}")) {
      for (Path other : others) {
        String name = other.getFileName().toString();
        if (name.endsWith(".safetensors")) {
          return new ModelLoadException("%s: weights are in %s; %s".formatted(dir, name, expected));
        }
        return new UnsupportedModelException(
            "%s: weights in the form of %s are not read (%s); %s"
                .formatted(
                    dir,
                    name,
                    name.endsWith(".gguf")
                        ? "an Encoder opens the file itself; 'llara import FILE DIR' makes a directory of it"
                        : "a pickle can run code",
                    expected));
      }
    } catch (IOException e) {
      throw new ModelLoadException(
          "%s: cannot be listed: %s".formatted(dir, Messages.reason(e)), e);
    }
    return new ModelLoadException("%s: no weights; %s".formatted(dir, expected));
  }
}
