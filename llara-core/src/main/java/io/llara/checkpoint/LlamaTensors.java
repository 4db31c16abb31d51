package io.llara.checkpoint;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The tensors of a LLaMA checkpoint by canonical name (without the {@code model.} prefix), and
 * their shapes. Matrices are {@code [out, in]}: {@code y = W x}.
 */
public final class LlamaTensors {
  /** The embedding matrix, {@code [vocabulary, hidden]}. */
  public static final String EMBEDDING = "embed_tokens.weight";

  /** The weight of the final norm, {@code [hidden]}. */
  public static final String FINAL_NORM = "norm.weight";

  /** The output projection, {@code [vocabulary, hidden]}; not needed for embeddings. */
  public static final String HEAD = "lm_head.weight";

  private static final String MODEL_PREFIX = "model.";

  private LlamaTensors() {}

  /**
   * Returns the tensors that every checkpoint of a configuration has, in the order a forward pass
   * meets them; unmodifiable. The output projection is not among them.
   */
  public static Map<String, long[]> required(LlamaConfig config) {
    Map<String, long[]> shapes = new LinkedHashMap<>();
    shapes.put(EMBEDDING, shape(config.vocabularySize(), config.hiddenSize()));
    for (int layer = 0; layer < config.layers(); layer++) {
      addLayer(shapes, "layers." + layer + ".", config);
    }
    shapes.put(FINAL_NORM, shape(config.hiddenSize()));
    return Collections.unmodifiableMap(shapes);
  }

  /** Returns {@link #required} and the output projection, unless it is the embedding matrix. */
  public static Map<String, long[]> all(LlamaConfig config) {
    Map<String, long[]> shapes = new LinkedHashMap<>(required(config));
    if (!config.tieWordEmbeddings()) {
      shapes.put(HEAD, headShape(config));
    }
    return Collections.unmodifiableMap(shapes);
  }

  /** Returns the name that a tensor has in the files of a model with an output projection. */
  public static String storedName(String canonical) {
    return canonical.equals(HEAD) ? canonical : MODEL_PREFIX + canonical;
  }

  /** Returns the name without the prefix that models with an output projection put before it. */
  public static String canonicalName(String stored) {
    return stored.startsWith(MODEL_PREFIX) ? stored.substring(MODEL_PREFIX.length()) : stored;
  }

  /**
   * Returns the shape of the output projection: {@code [vocabulary, hidden]}. Checkpoints saved
   * from the bare model and those with tied embeddings have none.
   */
  public static long[] headShape(LlamaConfig config) {
    return shape(config.vocabularySize(), config.hiddenSize());
  }

  private static void addLayer(Map<String, long[]> shapes, String layer, LlamaConfig config) {
    int hidden = config.hiddenSize();
    String attention = layer + "self_attn.";
    String mlp = layer + "mlp.";
    shapes.put(layer + "input_layernorm.weight", shape(hidden));
    addLinear(shapes, attention + "q_proj", config.queryWidth(), hidden, config.attentionBias());
    addLinear(shapes, attention + "k_proj", config.keyValueWidth(), hidden, config.attentionBias());
    addLinear(shapes, attention + "v_proj", config.keyValueWidth(), hidden, config.attentionBias());
    addLinear(shapes, attention + "o_proj", hidden, config.queryWidth(), config.attentionBias());
    shapes.put(layer + "post_attention_layernorm.weight", shape(hidden));
    addLinear(shapes, mlp + "gate_proj", config.intermediateSize(), hidden, false);
    addLinear(shapes, mlp + "up_proj", config.intermediateSize(), hidden, false);
    addLinear(shapes, mlp + "down_proj", hidden, config.intermediateSize(), false);
  }

  private static void addLinear(
      Map<String, long[]> shapes, String module, int out, int in, boolean bias) {
    shapes.put(module + ".weight", shape(out, in));
    if (bias) {
      shapes.put(module + ".bias", shape(out));
    }
  }

  private static long[] shape(long... sizes) {
    return sizes;
  }

  /** Returns whether a tensor, by canonical name, is the matrix of a projection within a layer. */
  public static boolean isProjection(String name) {
    return name.endsWith("_proj.weight");
  }
}
