package io.llara.checkpoint.gguf;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.HalfFloats;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.io.ByteChannels;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * The weights of a GGUF file under their Hugging Face names, checked against the configuration, and
 * their way into a safetensors file: decoded, put in the other order where need be, narrowed.
 *
 * <p>GGUF keeps the two halves of each head's rotary pairs side by side, {@code (0, 1), (2, 3), …}:
 * the rows of q and k are put back to where element {@code i} is turned with {@code i + headDim /
 * 2}.
 */
final class GgufWeights {
  /** Rows are read and written in portions of about this many elements. */
  private static final int PORTION = 1 << 18;

  private static final Map<String, String> LAYER_NAMES =
      Map.ofEntries(
          Map.entry("attn_norm.weight", "input_layernorm.weight"),
          Map.entry("attn_q.weight", "self_attn.q_proj.weight"),
          Map.entry("attn_k.weight", "self_attn.k_proj.weight"),
          Map.entry("attn_v.weight", "self_attn.v_proj.weight"),
          Map.entry("attn_output.weight", "self_attn.o_proj.weight"),
          Map.entry("attn_q.bias", "self_attn.q_proj.bias"),
          Map.entry("attn_k.bias", "self_attn.k_proj.bias"),
          Map.entry("attn_v.bias", "self_attn.v_proj.bias"),
          Map.entry("attn_output.bias", "self_attn.o_proj.bias"),
          Map.entry("ffn_norm.weight", "post_attention_layernorm.weight"),
          Map.entry("ffn_gate.weight", "mlp.gate_proj.weight"),
          Map.entry("ffn_up.weight", "mlp.up_proj.weight"),
          Map.entry("ffn_down.weight", "mlp.down_proj.weight"));

  private static final Map<String, String> NAMES =
      Map.of(
          GgufConfig.EMBEDDING,
          LlamaTensors.EMBEDDING,
          "output_norm.weight",
          LlamaTensors.FINAL_NORM,
          GgufConfig.HEAD,
          LlamaTensors.HEAD);

  private final GgufHeader header;
  private final Map<String, GgufTensor> byName;

  private GgufWeights(GgufHeader header, Map<String, GgufTensor> byName) {
    this.header = header;
    this.byName = byName;
  }

  /**
   * Finds the weights.
   *
   * @param config the configuration with all layers of the file
   * @throws ModelLoadException if one is missing or has another shape
   * @throws UnsupportedModelException if there is one that has no place in a LLaMA
   */
  static GgufWeights of(GgufHeader header, LlamaConfig config) {
    Map<String, GgufTensor> byName = new LinkedHashMap<>();
    for (GgufTensor tensor : header.tensors().values()) {
      if (!tensor.name().equals(GgufConfig.ROPE_FACTORS)) {
        String name =
            canonicalName(tensor.name(), config.layers())
                .orElseThrow(
                    () ->
                        new UnsupportedModelException(
                            "%s: tensor %s has no place in a LLaMA of %d layers; such a model is not"
                                    .formatted(
                                        header.file(),
                                        Messages.quote(tensor.name()),
                                        config.layers())
                                + " supported"));
        byName.put(name, tensor);
      }
    }
    GgufWeights weights = new GgufWeights(header, byName);
    LlamaTensors.all(config).forEach(weights::check);
    return weights;
  }

  /** Returns the name without the {@code model.} prefix that a tensor of GGUF has elsewhere. */
  private static Optional<String> canonicalName(String name, int layers) {
    String[] parts = name.split("\\.", 3);
    if (parts.length == 3 && parts[0].equals("blk") && parts[1].matches("0|[1-9][0-9]{0,3}")) {
      int layer = Integer.parseInt(parts[1]);
      return layer < layers
          ? Optional.ofNullable(LAYER_NAMES.get(parts[2]))
              .map(inLayer -> "layers." + layer + "." + inLayer)
          : Optional.empty();
    }
    return Optional.ofNullable(NAMES.get(name));
  }

  private static String nameInFile(String canonicalName) {
    String[] parts = canonicalName.split("\\.", 3);
    boolean inLayer = parts[0].equals("layers");
    String sought = inLayer ? parts[2] : canonicalName;
    return (inLayer ? LAYER_NAMES : NAMES)
        .entrySet().stream()
            .filter(entry -> entry.getValue().equals(sought))
            .map(entry -> (inLayer ? "blk." + parts[1] + "." : "") + entry.getKey())
            .findFirst()
            .orElse(canonicalName);
  }

  private void check(String name, long[] shape) {
    GgufTensor tensor = byName.get(name);
    if (tensor == null) {
      throw new ModelLoadException(
          "%s: has no tensor %s; the metadata ask for one of shape %s"
              .formatted(header.file(), Messages.quote(nameInFile(name)), Arrays.toString(shape)));
    }
    if (!Arrays.equals(tensor.shape(), shape)) {
      throw new ModelLoadException(
          "%s: tensor %s has shape %s; the metadata ask for %s"
              .formatted(
                  header.file(),
                  Messages.quote(tensor.name()),
                  Arrays.toString(tensor.shape()),
                  Arrays.toString(shape)));
    }
  }

  /**
   * Returns the type that holds every weight without loss: the one they share, or else single
   * precision.
   */
  StorageType commonType() {
    return byName.values().stream()
        .map(tensor -> tensor.type().storage())
        .reduce((a, b) -> a == b ? a : StorageType.F32)
        .orElse(StorageType.F32);
  }

  /** How one weight is written. */
  interface Written {
    void written();
  }

  /**
   * Declares all weights of a configuration to a writer.
   *
   * @param type the type to write, or none for the one that holds each without loss
   */
  void addTo(
      SafetensorsWriter writer,
      LlamaConfig config,
      Optional<StorageType> type,
      GgufRows rows,
      Written listener) {
    LlamaTensors.all(config)
        .forEach(
            (name, shape) -> {
              GgufTensor tensor = byName.get(name);
              if (tensor == null) {
                throw new IllegalStateException(name + " was not checked");
              }
              StorageType stored = type.orElse(tensor.type().storage());
              int pairsApart = isRotary(name) ? config.headDim() : 0;
              writer.add(
                  LlamaTensors.storedName(name),
                  stored,
                  shape,
                  out -> {
                    new Conversion(header, tensor, stored, rows, out).run(pairsApart);
                    listener.written();
                  });
            });
  }

  private static boolean isRotary(String name) {
    return name.contains(".self_attn.q_proj.") || name.contains(".self_attn.k_proj.");
  }

  /** One tensor on its way. */
  private static final class Conversion {
    private final GgufHeader header;
    private final GgufTensor tensor;
    private final StorageType type;
    private final GgufRows rows;
    private final WritableByteChannel out;
    private ByteBuffer bytes = ByteBuffer.allocate(0);

    Conversion(
        GgufHeader header,
        GgufTensor tensor,
        StorageType type,
        GgufRows rows,
        WritableByteChannel out) {
      this.header = header;
      this.tensor = tensor;
      this.type = type;
      this.rows = rows;
      this.out = out;
    }

    /**
     * Writes the tensor.
     *
     * @param headDim the width of the heads whose rows to put back in order, or 0 for none
     */
    void run(int headDim) throws IOException {
      int rowElements = Math.toIntExact(tensor.rowElements());
      if (headDim == 0) {
        int portion = Math.max(1, PORTION / rowElements);
        for (long row = 0; row < tensor.rows(); row += portion) {
          int count = (int) Math.min(portion, tensor.rows() - row);
          write(rows.read(tensor, row, count), count * rowElements);
        }
      } else if (tensor.shape().length == 1) {
        float[] mixed = rows.read(tensor, 0, 1);
        float[] ordered = new float[rowElements];
        for (int i = 0; i < rowElements; i++) {
          ordered[i] = mixed[(int) source(i, headDim)];
        }
        write(ordered, rowElements);
      } else {
        for (long row = 0; row < tensor.rows(); row++) {
          write(rows.read(tensor, source(row, headDim), 1), rowElements);
        }
      }
    }

    /** Returns where GGUF keeps the row: the first and second of a pair lie side by side there. */
    private static long source(long row, int headDim) {
      long head = row / headDim;
      long inHead = row % headDim;
      long second = inHead / (headDim / 2);
      long pair = inHead % (headDim / 2);
      return head * headDim + 2 * pair + second;
    }

    private void write(float[] values, int count) throws IOException {
      int length = count * type.bytes();
      if (bytes.capacity() < length) {
        bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
      }
      bytes.clear();
      for (int i = 0; i < count; i++) {
        if (!Float.isFinite(values[i])) {
          throw refused(values[i], "the file is damaged");
        }
        put(values[i]);
      }
      ByteChannels.writeFully(out, bytes.flip());
    }

    private void put(float value) {
      switch (type) {
        case F16 -> {
          short half = HalfFloats.toF16(value);
          if ((half & 0x7fff) == 0x7c00) {
            throw refused(value, "F16 reaches to 65504 only: choose BF16 or F32");
          }
          bytes.putShort(half);
        }
        case BF16 -> bytes.putShort(HalfFloats.toBf16(value));
        default -> bytes.putFloat(value);
      }
    }

    private ModelLoadException refused(float value, String why) {
      return new ModelLoadException(
          "%s: tensor %s has the value %s; %s"
              .formatted(header.file(), Messages.quote(tensor.name()), value, why));
    }
  }
}
