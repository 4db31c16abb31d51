package io.llara.checkpoint.gguf;

import io.llara.Internal;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.HalfFloats;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.Quantization;
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
import java.util.regex.Pattern;

/**
 * The weights of a GGUF file under their canonical names ({@link LlamaTensors}), checked against
 * the configuration: decoded to floats, reordered where need be, narrowed; or, where they are
 * nothing but integers and scales, as these.
 *
 * <p>What is asked for is read from the file as it is written on: a model is never in memory.
 * Thread-safe; the file must not change.
 *
 * <p>GGUF keeps the two halves of each head's rotary pairs side by side, {@code (0, 1), (2, 3), …}:
 * the rows of q and k are put back to where element {@code i} is rotated with {@code i + headDim /
 * 2}.
 */
@Internal
public final class GgufWeights {
  /** How many integers share a scale. */
  public static final int GROUP = 32;

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

  private static final Pattern ROTARY = Pattern.compile("\\.self_attn\\.[qk]_proj\\.");

  private final Path file;
  private final int headDim;
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
    this.headDim = config.headDim();
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

  private GgufTensor tensor(String name) {
    return Objects.requireNonNull(byName.get(name), name);
  }

  /** Returns whether there is a weight of this canonical name. */
  public boolean has(String name) {
    return byName.containsKey(name);
  }

  /**
   * Returns the bits of the integers that a matrix is stored in, with a scale for each {@value
   * #GROUP} of them: 8 (Q8_0) or 4 (Q4_0); 0 if it is stored in another way.
   */
  public int bits(String name) {
    GgufTensor tensor = tensor(name);
    return tensor.shape().length == 2 ? tensor.type().bits() : 0;
  }

  /** Returns the floating type that holds a weight without loss. */
  public StorageType storedType(String name) {
    return tensor(name).type().storage();
  }

  /**
   * Returns the type that holds every weight without loss, those that are {@linkplain #bits
   * integers} apart: the one they share, or else single precision.
   */
  StorageType commonType() {
    return byName.keySet().stream()
        .filter(name -> bits(name) == 0)
        .map(this::storedType)
        .reduce((a, b) -> a == b ? a : StorageType.F32)
        .orElse(StorageType.F32);
  }

  /**
   * Returns how matrices are quantised that are {@linkplain #bits integers}: with eight bits where
   * some of the layers have eight. Empty if none is.
   */
  Optional<Quantization> quantization() {
    int layers =
        byName.keySet().stream()
            .filter(name -> !name.equals(LlamaTensors.EMBEDDING))
            .mapToInt(this::bits)
            .reduce(0, Math::max);
    int embedding = bits(LlamaTensors.EMBEDDING);
    return layers == 0 && embedding == 0
        ? Optional.empty()
        : Optional.of(
            new Quantization(
                layers == 0 ? embedding : layers, embedding == 0 ? layers : embedding, GROUP));
  }

  /**
   * Returns a weight in a floating type, row-major, decoded as it is written.
   *
   * @param type F32, F16 or BF16
   */
  public SafetensorsWriter.Content floats(String name, StorageType type) {
    GgufTensor tensor = tensor(name);
    int rowElements = Math.toIntExact(tensor.rowElements());
    if (headDim(name) > 0 && tensor.shape().length == 1) {
      return out -> {
        float[] mixed = GgufRows.readWhole(file, tensor);
        float[] ordered = new float[rowElements];
        for (int i = 0; i < rowElements; i++) {
          ordered[i] = mixed[(int) source(i, headDim(name))];
        }
        write(tensor, ordered, rowElements, type, out);
      };
    }
    return out ->
        forRows(
            name,
            (rows, first, count) ->
                write(tensor, rows.read(tensor, first, count), count * rowElements, type, out));
  }

  /**
   * Returns the integers of a matrix, row-major: bytes, or two in a byte, each plus eight, the
   * first in the lower half.
   *
   * @param bits 8 or 4, not below {@link #bits(String)}
   */
  public SafetensorsWriter.Content integers(String name, int bits) {
    GgufType type = tensor(name).type();
    return blocks(name, GROUP * bits / 8, (in, from, to) -> type.putIntegers(in, from, bits, to));
  }

  /**
   * Returns the scales of a matrix's integers, in F16, {@code [out, in / }{@value #GROUP}{@code ]}.
   */
  public SafetensorsWriter.Content scales(String name) {
    GgufTensor tensor = tensor(name);
    return blocks(
        name,
        Short.BYTES,
        (in, from, to) -> {
          short scale = GgufType.scale(in, from);
          float value = HalfFloats.fromF16(scale);
          if (!Float.isFinite(value)) {
            throw refused(tensor, value, "the file is damaged");
          }
          to.putShort(scale);
        });
  }

  /** What becomes of a block that begins at an index of a buffer. */
  private interface BlockWriter {
    void write(ByteBuffer in, int from, ByteBuffer to);
  }

  private SafetensorsWriter.Content blocks(String name, int bytesOfBlock, BlockWriter writer) {
    GgufTensor tensor = tensor(name);
    int blockBytes = tensor.type().blockBytes();
    return out ->
        forRows(
            name,
            (rows, first, count) -> {
              ByteBuffer blocks = rows.readBlocks(tensor, first, count);
              ByteBuffer bytes =
                  ByteBuffer.allocate(blocks.limit() / blockBytes * bytesOfBlock)
                      .order(ByteOrder.LITTLE_ENDIAN);
              for (int from = 0; from < blocks.limit(); from += blockBytes) {
                writer.write(blocks, from, bytes);
              }
              ByteChannels.writeFully(out, bytes.flip());
            });
  }

  /** What becomes of neighbouring rows. */
  private interface RowsReader {
    void read(GgufRows rows, long first, int count) throws IOException;
  }

  /** Goes through the rows of a weight in the order in which they belong. */
  private void forRows(String name, RowsReader reader) throws IOException {
    GgufTensor tensor = tensor(name);
    int headDim = headDim(name);
    int portion = headDim > 0 ? 1 : Math.max(1, PORTION / Math.toIntExact(tensor.rowElements()));
    try (GgufRows rows = new GgufRows(file)) {
      for (long row = 0; row < tensor.rows(); row += portion) {
        int count = (int) Math.min(portion, tensor.rows() - row);
        reader.read(rows, headDim > 0 ? source(row, headDim) : row, count);
      }
    }
  }

  /** Returns the width of the heads whose rows are to be put back in order, or 0 for none. */
  private int headDim(String name) {
    return ROTARY.matcher(name).find() ? headDim : 0;
  }

  /** Returns where GGUF keeps the row: the first and second of a pair lie side by side there. */
  private static long source(long row, int headDim) {
    long head = row / headDim;
    long inHead = row % headDim;
    long second = inHead / (headDim / 2);
    long pair = inHead % (headDim / 2);
    return head * headDim + 2 * pair + second;
  }

  private void write(
      GgufTensor tensor, float[] values, int count, StorageType type, WritableByteChannel out)
      throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(count * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      float value = values[i];
      if (!Float.isFinite(value)) {
        throw refused(tensor, value, "the file is damaged");
      }
      switch (type) {
        case F16 -> {
          short half = HalfFloats.toF16(value);
          if ((half & 0x7fff) == 0x7c00) {
            throw refused(tensor, value, "F16 reaches to 65504 only: choose BF16 or F32");
          }
          bytes.putShort(half);
        }
        case BF16 -> bytes.putShort(HalfFloats.toBf16(value));
        default -> bytes.putFloat(value);
      }
    }
    ByteChannels.writeFully(out, bytes.flip());
  }

  private ModelLoadException refused(GgufTensor tensor, float value, String why) {
    return new ModelLoadException(
        "%s: tensor %s has the value %s; %s"
            .formatted(file, Messages.quote(tensor.name()), value, why));
  }
}
