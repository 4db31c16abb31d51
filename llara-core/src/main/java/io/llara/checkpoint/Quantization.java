package io.llara.checkpoint;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.io.ByteChannels;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * How the matrices of a checkpoint are quantised: {@code w = q · s}, a signed integer {@code q} for
 * each weight and one scale {@code s} for each group of weights that are neighbours in a row.
 *
 * <p>The files are those of the <a
 * href="https://github.com/neuralmagic/compressed-tensors">compressed-tensors</a> format: {@code
 * quantization_config} in {@code config.json}; for a weight {@code x.weight} of shape {@code [out,
 * in]} the scales {@code x.weight_scale}, {@code [out, in / group]}, in a floating type; and the
 * integers, {@code x.weight}, I8, {@code [out, in]} for eight bits ({@code int-quantized}), or
 * {@code x.weight_packed}, I32, {@code [out, in / 8]}, for four ({@code pack-quantized}: each plus
 * eight, the first in the lowest bits). Matrices may stay in a floating type; all vectors do.
 * Whether activations are to be quantised too is a choice of the computation, and not read.
 *
 * @param bits those of the layers' matrices and of the output projection, 4 or 8
 * @param embeddingBits those of the embedding matrix, 4 or 8
 * @param groupSize the weights that share a scale; 0 for whole rows
 */
public record Quantization(int bits, int embeddingBits, int groupSize) {
  /** The key of {@code config.json} that says it. */
  public static final String KEY = "quantization_config";

  /** Integers of four bits in one of 32. */
  private static final int PER_INT = 8;

  private static final String LINEAR = "Linear";
  private static final String EMBEDDING = "Embedding";
  private static final String METHOD = "compressed-tensors";

  /**
   * Creates one.
   *
   * @throws IllegalArgumentException if there are other than 4 or 8 bits, or the size of the groups
   *     is negative or odd
   */
  public Quantization {
    for (int some : new int[] {bits, embeddingBits}) {
      if (some != 4 && some != 8) {
        throw new IllegalArgumentException("bits are " + some + "; expected 4 or 8");
      }
    }
    if (groupSize < 0 || groupSize % 2 != 0) {
      throw new IllegalArgumentException(
          "groupSize is " + groupSize + "; expected an even number, or 0 for whole rows");
    }
  }

  /** Returns the weights that share a scale in a matrix with rows of {@code in} elements. */
  public int group(long in) {
    return groupSize == 0 ? Math.toIntExact(in) : groupSize;
  }

  /** Returns the bits of a weight, by its canonical or its stored name. */
  public int bits(String name) {
    return LlamaTensors.canonicalName(name).equals(LlamaTensors.EMBEDDING) ? embeddingBits : bits;
  }

  /** Returns the name of the tensor of a weight's integers. */
  public String integersName(String name) {
    return bits(name) == 4 ? name + "_packed" : name;
  }

  /** Returns the type of the tensor of a weight's integers. */
  public StorageType integersType(String name) {
    return bits(name) == 4 ? StorageType.I32 : StorageType.I8;
  }

  /** Returns the shape of the tensor of a weight's integers. */
  public long[] integersShape(String name, long... shape) {
    return new long[] {shape[0], bits(name) == 4 ? shape[1] / PER_INT : shape[1]};
  }

  /** Returns the name of the tensor of a weight's scales. */
  public static String scalesName(String name) {
    return name + "_scale";
  }

  /** Returns the shape of the tensor of a weight's scales. */
  public long[] scalesShape(long... shape) {
    return new long[] {shape[0], shape[1] / group(shape[1])};
  }

  /** Returns the name of the tensor with the shape of a weight whose integers are packed. */
  public static String shapeName(String name) {
    return name + "_shape";
  }

  /**
   * Declares the tensor with the shape of a weight, if its integers are packed.
   *
   * @param name the weight's stored name
   * @return the name of the tensor, if there is one
   */
  public Optional<String> addShape(SafetensorsWriter writer, String name, long... shape) {
    if (bits(name) == 8) {
      return Optional.empty();
    }
    String tensor = shapeName(name);
    writer.add(
        tensor,
        StorageType.I64,
        new long[] {shape.length},
        out -> {
          ByteBuffer bytes = ByteBuffer.allocate(shape.length * Long.BYTES);
          bytes.order(ByteOrder.LITTLE_ENDIAN).asLongBuffer().put(shape);
          ByteChannels.writeFully(out, bytes);
        });
    return Optional.of(tensor);
  }

  /** Returns whether a weight can be quantised: a matrix whose rows are whole groups. */
  public boolean fits(String name, long... shape) {
    return shape.length == 2
        && shape[1] % group(shape[1]) == 0
        && (bits(name) == 8 || shape[1] % PER_INT == 0);
  }

  /**
   * Returns what a {@code config.json} says under {@value #KEY}.
   *
   * @param floating the matrices that stay in a floating type, by the names of their modules
   */
  public JsonObject toJson(List<String> floating) {
    JsonObject groups = new JsonObject();
    if (bits == embeddingBits) {
      groups.add("group_0", group(bits, LINEAR, EMBEDDING));
    } else {
      groups.add("group_0", group(bits, LINEAR));
      groups.add("group_1", group(embeddingBits, EMBEDDING));
    }
    JsonArray ignored = new JsonArray();
    floating.forEach(ignored::add);
    JsonObject json = new JsonObject();
    json.addProperty("quant_method", METHOD);
    json.addProperty("format", bits == embeddingBits ? format(bits) : "mixed-precision");
    json.addProperty("quantization_status", "compressed");
    json.add("config_groups", groups);
    json.add("ignore", ignored);
    return json;
  }

  private JsonObject group(int groupBits, String... targets) {
    JsonObject weights = new JsonObject();
    weights.addProperty("num_bits", groupBits);
    weights.addProperty("type", "int");
    weights.addProperty("symmetric", true);
    weights.addProperty("dynamic", false);
    if (groupSize == 0) {
      weights.addProperty("strategy", "channel");
    } else {
      weights.addProperty("strategy", "group");
      weights.addProperty("group_size", groupSize);
    }
    JsonArray list = new JsonArray();
    for (String target : targets) {
      list.add(target);
    }
    JsonObject group = new JsonObject();
    group.add("targets", list);
    group.add("weights", weights);
    group.addProperty("format", format(groupBits));
    return group;
  }

  private static String format(int bits) {
    return bits == 4 ? "pack-quantized" : "int-quantized";
  }

  /**
   * Reads what a {@code config.json} says, if it says something.
   *
   * @throws io.llara.UnsupportedModelException if the checkpoint is quantised in another way
   */
  static Optional<Quantization> read(JsonSection config) {
    return config.section(KEY).map(Quantization::parse);
  }

  private static Quantization parse(JsonSection json) {
    if (!json.scalar("quant_method").equals(Optional.of(METHOD))) {
      throw json.unsupported(
          "quant_method",
          "a checkpoint quantised in another way (%s)".formatted(json.describe("quant_method")),
          "compressed-tensors, or weights stored as F32, F16 or BF16");
    }
    JsonSection groups = json.requiredSection("config_groups");
    Map<String, Quantization> byTarget = new HashMap<>();
    for (String name : groups.keys()) {
      JsonSection group = groups.requiredSection(name);
      Quantization scheme = scheme(group, json);
      for (String target : group.strings("targets").orElse(List.of())) {
        byTarget.put(target, scheme);
      }
    }
    Quantization linear = byTarget.remove(LINEAR);
    if (linear == null) {
      throw groups.unsupported(
          groups.keys().stream().findFirst().orElse("group_0"),
          "without the target " + LINEAR,
          "schemes for all linear maps");
    }
    // Without one of its own, the embedding is in a floating type.
    Quantization embedding = byTarget.getOrDefault(EMBEDDING, linear);
    byTarget.remove(EMBEDDING);
    if (!byTarget.isEmpty() || embedding.groupSize != linear.groupSize) {
      throw json.unsupported(
          "config_groups",
          byTarget.isEmpty() ? "groups of two sizes" : "with the targets " + byTarget.keySet(),
          "the targets Linear and Embedding with groups of one size");
    }
    return new Quantization(linear.bits, embedding.bits, linear.groupSize);
  }

  private static Quantization scheme(JsonSection group, JsonSection whole) {
    JsonSection weights = group.requiredSection("weights");
    int bits = weights.requiredInt("num_bits");
    require(weights, "type", "int");
    if (bits != 4 && bits != 8) {
      throw weights.unsupported("num_bits", Integer.toString(bits), "4 or 8");
    }
    if (!weights.bool("symmetric").orElse(true)) {
      throw weights.unsupported("symmetric", "false", "true");
    }
    if (weights.has("actorder")) {
      throw weights.unsupported("actorder", weights.describe("actorder"), "groups in order");
    }
    String strategy = weights.requiredString("strategy");
    int size =
        switch (strategy) {
          case "channel" -> 0;
          case "group" -> weights.requiredInt("group_size");
          default ->
              throw weights.unsupported("strategy", Messages.quote(strategy), "group, channel");
        };
    if (size < 0 || size % 2 != 0) {
      throw weights.unsupported("group_size", Integer.toString(size), "an even number");
    }
    // Older files say it once for all.
    require(group.has("format") ? group : whole, "format", format(bits));
    return new Quantization(bits, bits, size);
  }

  private static void require(JsonSection json, String key, String supported) {
    if (!json.scalar(key).equals(Optional.of(supported))) {
      throw json.unsupported(key, json.describe(key), Messages.quote(supported));
    }
  }
}
