package io.llara.checkpoint;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import java.util.List;
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
 * @param bits 4 or 8
 * @param groupSize the weights that share a scale; 0 for whole rows
 */
public record Quantization(int bits, int groupSize) {
  /** The key of {@code config.json} that says it. */
  public static final String KEY = "quantization_config";

  /** Integers of four bits in one of 32. */
  static final int PER_INT = 8;

  private static final String METHOD = "compressed-tensors";

  /**
   * Creates one.
   *
   * @throws IllegalArgumentException if there are other than 4 or 8 bits, or the size of the groups
   *     is negative or odd
   */
  public Quantization {
    if (bits != 4 && bits != 8) {
      throw new IllegalArgumentException("bits is " + bits + "; expected 4 or 8");
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

  /** Returns whether a tensor of a shape can be quantised: a matrix whose rows are whole groups. */
  public boolean fits(long... shape) {
    return shape.length == 2
        && shape[1] % group(shape[1]) == 0
        && (bits == 8 || shape[1] % PER_INT == 0);
  }

  /**
   * Returns what a {@code config.json} says under {@value #KEY}.
   *
   * @param floating the matrices that stay in a floating type, by the names of their modules
   */
  public JsonObject toJson(List<String> floating) {
    JsonObject weights = new JsonObject();
    weights.addProperty("num_bits", bits);
    weights.addProperty("type", "int");
    weights.addProperty("symmetric", true);
    weights.addProperty("dynamic", false);
    if (groupSize == 0) {
      weights.addProperty("strategy", "channel");
    } else {
      weights.addProperty("strategy", "group");
      weights.addProperty("group_size", groupSize);
    }
    JsonArray targets = new JsonArray();
    targets.add("Linear");
    targets.add("Embedding");
    JsonObject group = new JsonObject();
    group.add("targets", targets);
    group.add("weights", weights);
    JsonObject groups = new JsonObject();
    groups.add("group_0", group);
    JsonObject json = new JsonObject();
    json.addProperty("quant_method", METHOD);
    json.addProperty("format", format());
    json.addProperty("quantization_status", "compressed");
    json.add("config_groups", groups);
    JsonArray ignored = new JsonArray();
    floating.forEach(ignored::add);
    json.add("ignore", ignored);
    return json;
  }

  private String format() {
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
    if (groups.keys().size() != 1) {
      throw json.unsupported(
          "config_groups", groups.keys().size() + " groups", "one for all matrices");
    }
    JsonSection group = groups.requiredSection(groups.keys().iterator().next());
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
    Quantization quantization = new Quantization(bits, size);
    // Files of several formats say so in each group.
    JsonSection named = group.has("format") ? group : json;
    require(named, "format", quantization.format());
    return quantization;
  }

  private static void require(JsonSection json, String key, String supported) {
    if (!json.scalar(key).equals(Optional.of(supported))) {
      throw json.unsupported(key, json.describe(key), Messages.quote(supported));
    }
  }
}
