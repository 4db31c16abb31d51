package io.llara.testing;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.RopeScaling;
import io.llara.prompt.Prompt;
import java.util.HashMap;
import java.util.Map;

/**
 * LLaMA's forward pass (arXiv 2302.13971) in float64, one prompt at a time, written for reading:
 * loops and a dense mask, and nothing of what it checks but the checkpoint's reader.
 */
public final class ReferenceLlama {
  private final LlamaConfig config;
  private final Map<String, float[]> weights = new HashMap<>();

  /** Reads all weights of a small checkpoint. */
  public ReferenceLlama(CheckpointDirectory checkpoint) {
    config = checkpoint.config();
    checkpoint.tensors().forEach((name, entry) -> weights.put(name, entry.readFloats()));
  }

  /** Returns the hidden states after the final norm, {@code [prompt.length()][hidden]}. */
  public double[][] hiddenStates(Prompt prompt) {
    int[] ids = prompt.ids();
    int[] positions = positions(prompt);
    boolean[][] visible = visible(prompt);
    double[][] x = new double[ids.length][config.hiddenSize()];
    for (int row = 0; row < ids.length; row++) {
      for (int i = 0; i < config.hiddenSize(); i++) {
        x[row][i] = weights.get("embed_tokens.weight")[ids[row] * config.hiddenSize() + i];
      }
    }
    for (int layer = 0; layer < config.layers(); layer++) {
      String name = "layers." + layer + ".";
      add(
          x,
          attention(
              name + "self_attn.", norm(x, name + "input_layernorm.weight"), positions, visible));
      add(x, feedForward(name + "mlp.", norm(x, name + "post_attention_layernorm.weight")));
    }
    return norm(x, "norm.weight");
  }

  /** Where a joint prompt's NEXT suffix begins anew: right after the text. */
  private static int[] positions(Prompt prompt) {
    int[] positions = new int[prompt.length()];
    for (int row = 0; row < positions.length; row++) {
      positions[row] = row < prompt.nextBegin() ? row : row - prompt.selfLength();
    }
    return positions;
  }

  /** Causal, and NEXT does not see SELF. */
  private static boolean[][] visible(Prompt prompt) {
    boolean[][] visible = new boolean[prompt.length()][prompt.length()];
    for (int query = 0; query < prompt.length(); query++) {
      for (int key = 0; key <= query; key++) {
        boolean keyInSelf = key >= prompt.textEnd() && key < prompt.nextBegin();
        visible[query][key] = query < prompt.nextBegin() || !keyInSelf;
      }
    }
    return visible;
  }

  private double[][] attention(String name, double[][] x, int[] positions, boolean[][] visible) {
    double[][] q = rotate(linear(x, name + "q_proj"), positions);
    double[][] k = rotate(linear(x, name + "k_proj"), positions);
    double[][] v = linear(x, name + "v_proj");
    int dim = config.headDim();
    double[][] mixed = new double[x.length][config.heads() * dim];
    for (int head = 0; head < config.heads(); head++) {
      int kvHead = head * config.kvHeads() / config.heads();
      for (int row = 0; row < x.length; row++) {
        double[] shares = new double[x.length];
        double sum = 0;
        for (int key = 0; key < x.length; key++) {
          if (visible[row][key]) {
            double score = 0;
            for (int i = 0; i < dim; i++) {
              score += q[row][head * dim + i] * k[key][kvHead * dim + i];
            }
            shares[key] = Math.exp(score / Math.sqrt(dim));
            sum += shares[key];
          }
        }
        for (int key = 0; key < x.length; key++) {
          for (int i = 0; i < dim; i++) {
            mixed[row][head * dim + i] += shares[key] / sum * v[key][kvHead * dim + i];
          }
        }
      }
    }
    return linear(mixed, name + "o_proj");
  }

  /** Turns each pair (i, i + half) of each head by its frequency times the position. */
  private double[][] rotate(double[][] x, int[] positions) {
    int half = config.headDim() / 2;
    double[][] y = new double[x.length][];
    for (int row = 0; row < x.length; row++) {
      y[row] = new double[x[row].length];
      for (int head = 0; head < x[row].length / config.headDim(); head++) {
        for (int i = 0; i < half; i++) {
          int first = head * config.headDim() + i;
          double angle = positions[row] * frequency(i);
          double a = x[row][first];
          double b = x[row][first + half];
          y[row][first] = a * Math.cos(angle) - b * Math.sin(angle);
          y[row][first + half] = b * Math.cos(angle) + a * Math.sin(angle);
        }
      }
    }
    return y;
  }

  private double frequency(int pair) {
    double frequency = Math.pow(config.ropeTheta(), -2.0 * pair / config.headDim());
    if (config.ropeScaling() instanceof RopeScaling.Linear linear) {
      return frequency / linear.factor();
    }
    if (config.ropeScaling() instanceof RopeScaling.Llama3 llama3) {
      double wavelength = 2 * Math.PI / frequency;
      double context = llama3.originalMaxPositions();
      double low = llama3.lowFrequencyFactor();
      double high = llama3.highFrequencyFactor();
      if (wavelength < context / high) {
        return frequency;
      }
      if (wavelength > context / low) {
        return frequency / llama3.factor();
      }
      double smooth = (context / wavelength - low) / (high - low);
      return (1 - smooth) * frequency / llama3.factor() + smooth * frequency;
    }
    return frequency;
  }

  private double[][] feedForward(String name, double[][] x) {
    double[][] gate = linear(x, name + "gate_proj");
    double[][] up = linear(x, name + "up_proj");
    for (int row = 0; row < x.length; row++) {
      for (int i = 0; i < up[row].length; i++) {
        up[row][i] *= gate[row][i] / (1 + Math.exp(-gate[row][i]));
      }
    }
    return linear(up, name + "down_proj");
  }

  private double[][] norm(double[][] x, String name) {
    float[] weight = weights.get(name);
    double[][] y = new double[x.length][weight.length];
    for (int row = 0; row < x.length; row++) {
      double squares = 0;
      for (double value : x[row]) {
        squares += value * value;
      }
      double scale = 1 / Math.sqrt(squares / weight.length + config.rmsNormEps());
      for (int i = 0; i < weight.length; i++) {
        y[row][i] = x[row][i] * scale * weight[i];
      }
    }
    return y;
  }

  private double[][] linear(double[][] x, String name) {
    float[] weight = weights.get(name + ".weight");
    float[] bias = weights.get(name + ".bias");
    int in = x[0].length;
    int out = weight.length / in;
    double[][] y = new double[x.length][out];
    for (int row = 0; row < x.length; row++) {
      for (int o = 0; o < out; o++) {
        double sum = bias == null ? 0 : bias[o];
        for (int i = 0; i < in; i++) {
          sum += weight[o * in + i] * x[row][i];
        }
        y[row][o] = sum;
      }
    }
    return y;
  }

  private static void add(double[][] x, double[][] y) {
    for (int row = 0; row < x.length; row++) {
      for (int i = 0; i < x[row].length; i++) {
        x[row][i] += y[row][i];
      }
    }
  }
}
