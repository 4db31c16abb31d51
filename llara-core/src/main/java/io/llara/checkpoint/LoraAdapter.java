package io.llara.checkpoint;

import static java.util.Objects.requireNonNull;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.Messages;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A LoRA adapter (arXiv 2106.09685) as the PEFT library saves it: {@code adapter_config.json} and
 * {@code adapter_model.safetensors}. Each adapted weight becomes {@code W + scale · B A}. Opening
 * reads settings and headers and checks everything against the model's configuration; the matrices
 * themselves are not read. Immutable and thread-safe.
 */
public final class LoraAdapter {
  static final String CONFIG = "adapter_config.json";
  static final String WEIGHTS = "adapter_model.safetensors";

  private static final String PREFIX = "base_model.model.";

  /** PEFT leaves out the adapter's name; a state dict saved by hand has {@code .default}. */
  private static final Pattern PAIR_NAME =
      Pattern.compile("(.+)\\.lora_([AB])(?:\\.default)?\\.weight");

  private static final Pattern SAVED_NAME =
      Pattern.compile("(.+)\\.modules_to_save(?:\\.default)?(\\.(?:weight|bias))");

  private final Path path;
  private final Map<String, Pair> pairs;
  private final Map<String, TensorEntry> replacements;

  /**
   * The two factors that adapt one weight {@code [out, in]}.
   *
   * @param a the inner factor, {@code [rank, in]}
   * @param b the outer factor, {@code [out, rank]}
   * @param scale what their product is multiplied with: alpha / rank, or alpha / √rank for rslora
   */
  public record Pair(TensorEntry a, TensorEntry b, double scale) {
    /** Returns the rank of the update. */
    public int rank() {
      return Math.toIntExact(a.shape()[0]);
    }
  }

  private LoraAdapter(Path path, Map<String, Pair> pairs, Map<String, TensorEntry> replacements) {
    this.path = path;
    this.pairs = Collections.unmodifiableMap(pairs);
    this.replacements = Collections.unmodifiableMap(replacements);
  }

  /**
   * Opens an adapter for a model of this configuration.
   *
   * @throws ModelLoadException if a file is missing or damaged, or the adapter does not fit the
   *     model; the message names the file and the tensor or key
   * @throws UnsupportedModelException if it is not a plain LoRA of linear layers
   */
  public static LoraAdapter open(Path dir, LlamaConfig config) {
    CheckpointDirectory.requireDirectory(dir, "an adapter");
    LoraSettings settings = LoraSettings.read(dir.resolve(CONFIG));
    Path weights = dir.resolve(WEIGHTS);
    if (!Files.exists(weights) && Files.exists(dir.resolve("adapter_model.bin"))) {
      throw new UnsupportedModelException(
          "%s: adapter_model.bin is not read (a pickle can run code); expected %s"
              .formatted(dir, WEIGHTS));
    }
    return new Reader(SafetensorsFile.open(weights), settings, config).read(dir);
  }

  /** Returns the directory. */
  public Path path() {
    return path;
  }

  /**
   * Returns the updates by the canonical name of the weight they adapt, such as {@code
   * layers.0.self_attn.q_proj.weight}; unmodifiable.
   */
  public Map<String, Pair> pairs() {
    return pairs;
  }

  /**
   * Returns the weights that the adapter replaces as a whole ({@code modules_to_save}), by
   * canonical name; unmodifiable, often empty. Never one that has a pair.
   */
  public Map<String, TensorEntry> replacements() {
    return replacements;
  }

  /** One pass over the tensors of one adapter. */
  private static final class Reader {
    private final SafetensorsFile file;
    private final LoraSettings settings;
    private final LlamaConfig config;
    private final Map<String, long[]> shapes;
    private final Map<String, TensorEntry> inner = new LinkedHashMap<>();
    private final Map<String, TensorEntry> outer = new LinkedHashMap<>();
    private final Map<String, TensorEntry> replacements = new LinkedHashMap<>();

    Reader(SafetensorsFile file, LoraSettings settings, LlamaConfig config) {
      this.file = file;
      this.settings = settings;
      this.config = config;
      this.shapes = new LinkedHashMap<>(LlamaTensors.required(config));
      this.shapes.put(LlamaTensors.HEAD, LlamaTensors.headShape(config));
    }

    LoraAdapter read(Path dir) {
      file.entries().values().forEach(this::sort);
      dropTiedHead();
      Map<String, Pair> pairs = new LinkedHashMap<>();
      inner.forEach((module, a) -> pairs.put(module + ".weight", pair(module, a)));
      outer.forEach(
          (module, b) -> require(inner.containsKey(module), b, "has no lora_A beside it"));
      replacements.forEach(
          (name, entry) ->
              require(
                  !pairs.containsKey(name),
                  entry,
                  "replaces a weight that a lora_A and lora_B adapt as well"));
      if (pairs.isEmpty() && replacements.isEmpty()) {
        throw new ModelLoadException(file.path() + ": holds no tensors; expected an adapter's");
      }
      settings.checkTargets(
          inner.keySet(),
          shapes.keySet().stream().map(name -> name.replaceFirst("\\.weight$", "")).toList());
      return new LoraAdapter(dir, pairs, replacements);
    }

    private void sort(TensorEntry entry) {
      Matcher pair = PAIR_NAME.matcher(entry.name());
      if (pair.matches()) {
        Map<String, TensorEntry> side = pair.group(2).equals("A") ? inner : outer;
        put(side, canonicalModule(pair.group(1)), entry);
        return;
      }
      if (entry.name().contains(".lora_")) {
        throw new UnsupportedModelException(
            "%s: tensor %s: supported: lora_A.weight and lora_B.weight of linear layers"
                .formatted(file.path(), Messages.quote(entry.name())));
      }
      Matcher saved = SAVED_NAME.matcher(entry.name());
      String stored = saved.matches() ? saved.group(1) + saved.group(2) : entry.name();
      String name = canonicalModule(stored);
      WeightFiles.check(entry, entry.name(), shapeOf(name, entry));
      put(replacements, name, entry.withName(name));
    }

    private void put(Map<String, TensorEntry> map, String name, TensorEntry entry) {
      // Under the path it has in a LlamaForCausalLM and that in a LlamaModel, both in one file.
      TensorEntry before = map.putIfAbsent(name, entry);
      require(
          before == null || before.sameContent(entry),
          entry,
          "occurs twice under different names with different content");
    }

    private static String canonicalModule(String name) {
      return LlamaTensors.canonicalName(
          name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name);
    }

    private long[] shapeOf(String name, TensorEntry entry) {
      long[] shape = shapes.get(name);
      if (shape == null) {
        throw new UnsupportedModelException(
            "%s: tensor %s belongs to %s, which a %s of %d layers does not have"
                .formatted(
                    file.path(),
                    Messages.quote(entry.name()),
                    Messages.quote(name),
                    config.architecture(),
                    config.layers()));
      }
      return shape;
    }

    private Pair pair(String module, TensorEntry a) {
      String target = module + ".weight";
      long[] shape = shapeOf(target, a);
      require(outer.containsKey(module), a, "has no lora_B beside it");
      TensorEntry b = requireNonNull(outer.get(module));
      require(
          shape.length == 2 && !target.equals(LlamaTensors.EMBEDDING),
          a,
          "adapts %s; expected the weight of a linear layer".formatted(target));
      if (target.equals(LlamaTensors.HEAD) && config.tieWordEmbeddings()) {
        throw tiedHead(a);
      }
      String path = path(a);
      int rank = settings.rank(path);
      WeightFiles.check(a, a.name(), new long[] {rank, shape[1]});
      WeightFiles.check(b, b.name(), new long[] {shape[0], rank});
      return new Pair(a, b, settings.scale(path));
    }

    /** Returns the path of a factor's module in the model that was adapted. */
    private static String path(TensorEntry factor) {
      String module = PAIR_NAME.matcher(factor.name()).replaceFirst("$1");
      return module.startsWith(PREFIX) ? module.substring(PREFIX.length()) : module;
    }

    /**
     * PEFT saves both ends of a tied matrix when it saves one; the copy adds nothing. A head
     * without its embedding would untie them.
     */
    private void dropTiedHead() {
      if (config.tieWordEmbeddings()) {
        TensorEntry head = replacements.remove(LlamaTensors.HEAD);
        if (head != null && !replacements.containsKey(LlamaTensors.EMBEDDING)) {
          throw tiedHead(head);
        }
      }
    }

    private UnsupportedModelException tiedHead(TensorEntry entry) {
      return new UnsupportedModelException(
          ("%s: tensor %s changes the output projection, which this model shares with its "
                  + "embedding (tie_word_embeddings)")
              .formatted(file.path(), Messages.quote(entry.name())));
    }

    private void require(boolean holds, TensorEntry entry, String problem) {
      if (!holds) {
        throw new ModelLoadException(
            "%s: tensor %s %s".formatted(file.path(), Messages.quote(entry.name()), problem));
      }
    }
  }
}
