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
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * The weights of a GGUF file under their Hugging Face names, checked against the configuration, and
 * their way into a safetensors file: decoded, reordered where need be, narrowed.
 *
 * <p>GGUF keeps the two halves of each head's rotary pairs side by side, {@code (0, 1), (2, 3), …}:
 * the rows of q and k are put back to where element {@code i} is rotated with {@code i + headDim /
 * 2}.
 */
final class GgufWeights {
  /** Rows are read and written in portions of about this many elements. */
  private static final int PORTION = 1 << 18;

  /** What GGUF calls the parts of a layer and of the whole model. */
  private static final Map<String, String> NAMES =
      Map.ofEntries(
          Map.entry("input_layernorm", "attn_norm"),
          Map.entry("self_attn.q_proj", "attn_q"),
          Map.entry("self_attn.k_proj", "attn_k"),
          Map.entry("self_attn.v_proj", "attn_v"),
          Map.entry("self_attn.o_proj", "attn_output"),
          Map.entry("post_attention_layernorm", "ffn_norm"),
          Map.entry("mlp.gate_proj", "ffn_gate"),
          Map.entry("mlp.up_proj", "ffn_up"),
          Map.entry("mlp.down_proj", "ffn_down"),
          Map.entry("embed_tokens", "token_embd"),
          Map.entry("norm", "output_norm"),
          Map.entry("lm_head", "output"));

  private final Path file;
  private final Map<String, GgufTensor> byName = new LinkedHashMap<>();

  /**
   * Finds the weights.
   *
   * @param config the configuration with all layers of the file
   * @throws ModelLoadException if one is missing or has another shape
   * @throws UnsupportedModelException if there is one that has no place in a LLaMA
   */
  GgufWeights(GgufHeader header, LlamaConfig config) {
    this.file = header.file();
    Set<String> rest = new HashSet<>(header.tensors().keySet());
    rest.remove(GgufConfig.ROPE_FACTORS);
    Map<String, long[]> shapes = LlamaTensors.all(config);
    shapes.keySet().forEach(name -> rest.remove(nameInFile(name)));
    rest.stream()
        .sorted()
        .findFirst()
        .ifPresent(
            name -> {
              throw new UnsupportedModelException(
                  "%s: tensor %s has no place in a LLaMA of %d layers; such a model is not supported"
                      .formatted(file, Messages.quote(name), config.layers()));
            });
    shapes.forEach((name, shape) -> byName.put(name, checked(header, nameInFile(name), shape)));
  }

  /** Returns what GGUF calls {@code layers.3.self_attn.q_proj.weight}: {@code blk.3.attn_q…}. */
  private static String nameInFile(String canonicalName) {
    String layer = canonicalName.replaceFirst("^layers\\.(\\d+)\\..*|.*", "$1");
    String part = layer.isEmpty() ? canonicalName : canonicalName.substring(8 + layer.length());
    int kind = part.lastIndexOf('.');
    String name = Objects.requireNonNull(NAMES.get(part.substring(0, kind)), canonicalName);
    return (layer.isEmpty() ? "" : "blk." + layer + ".") + name + part.substring(kind);
  }

  private static GgufTensor checked(GgufHeader header, String name, long[] shape) {
    GgufTensor tensor = header.tensors().get(name);
    if (tensor == null || !Arrays.equals(tensor.shape(), shape)) {
      String found = tensor == null ? "is missing" : "has shape " + Arrays.toString(tensor.shape());
      throw new ModelLoadException(
          "%s: tensor %s %s; the metadata ask for one of shape %s"
              .formatted(header.file(), Messages.quote(name), found, Arrays.toString(shape)));
    }
    return tensor;
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

  /**
   * Declares all weights of a configuration to a writer.
   *
   * @param type the type to write, or none for the one that holds each without loss
   * @param written called after each
   */
  void addTo(
      SafetensorsWriter writer,
      LlamaConfig config,
      Optional<StorageType> type,
      GgufRows rows,
      Runnable written) {
    LlamaTensors.all(config)
        .forEach(
            (name, shape) -> {
              GgufTensor tensor = Objects.requireNonNull(byName.get(name), name);
              StorageType stored = type.orElse(tensor.type().storage());
              boolean rotary = name.matches(".*\\.self_attn\\.[qk]_proj\\..*");
              writer.add(
                  LlamaTensors.storedName(name),
                  stored,
                  shape,
                  out -> {
                    new Conversion(file, tensor, stored, rows, out)
                        .run(rotary ? config.headDim() : 0);
                    written.run();
                  });
            });
  }

  /** One tensor on its way. */
  private record Conversion(
      Path file, GgufTensor tensor, StorageType type, GgufRows rows, WritableByteChannel out) {

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
      ByteBuffer bytes = ByteBuffer.allocate(count * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
      for (int i = 0; i < count; i++) {
        if (!Float.isFinite(values[i])) {
          throw refused(values[i], "the file is damaged");
        }
        put(bytes, values[i]);
      }
      ByteChannels.writeFully(out, bytes.flip());
    }

    private void put(ByteBuffer bytes, float value) {
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
              .formatted(file, Messages.quote(tensor.name()), value, why));
    }
  }
}
