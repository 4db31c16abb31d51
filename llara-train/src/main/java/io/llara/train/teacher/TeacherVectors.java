package io.llara.train.teacher;

import com.google.common.hash.HashCode;
import io.llara.LlaraException;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.io.ByteChannels;
import io.llara.io.Messages;
import io.llara.model.StoredTensors;
import io.llara.retrieval.DigestTable;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The vectors that a teacher gives texts, by the text, in one or more files that {@link
 * TeacherTexts} writes. They are mapped into memory; some 30 bytes of memory a text are taken
 * beside.
 *
 * <p>A file is a safetensors file, so that other programs can write one as well: {@code vectors},
 * {@code [texts, dimension]} in F32, F16 or BF16, of any length but zero; {@code keys}, {@code
 * [texts, 16]} in U8, of which each is the first 16 bytes of the SHA-256 of a byte, {@code q} for a
 * query or {@code p} for a passage, and the text in UTF-8; and in the metadata {@code teacher},
 * what made the vectors: files of one run agree in it.
 *
 * <p>Files may be renamed over but must not shrink meanwhile. For one thread.
 */
public final class TeacherVectors implements AutoCloseable {
  static final String VECTORS = "vectors";
  static final String KEYS = "keys";
  static final String TEACHER = "teacher";

  /** Elements that are checked at a time. */
  private static final long CHUNK = 1 << 22;

  private final List<Part> parts = new ArrayList<>();
  private final StoredTensors stored = new StoredTensors();

  /** One file: vectors, and their rows by key. */
  private record Part(Path file, String teacher, DigestTable rows, Tensor vectors) {
    long dimension() {
      return vectors.size(1);
    }
  }

  private TeacherVectors() {}

  /**
   * Opens files and checks every vector in them.
   *
   * @param files at least one; where two have a text, the first counts
   * @throws LlaraException if a file is missing, damaged or of another form, a vector is not finite
   *     or zero, or files are of different teachers or dimensions; names the file
   */
  public static TeacherVectors open(List<Path> files) {
    if (files.isEmpty()) {
      throw new IllegalArgumentException("there is no file of a teacher's vectors");
    }
    Libtorch.load();
    TeacherVectors opened = new TeacherVectors();
    try {
      files.forEach(opened::add);
      return opened;
    } catch (RuntimeException | Error e) {
      opened.close();
      throw e;
    }
  }

  private void add(Path file) {
    SafetensorsFile header = SafetensorsFile.open(file);
    TensorEntry vectors = header.entry(VECTORS);
    TensorEntry keys = header.entry(KEYS);
    long[] shape = vectors.shape();
    if (!vectors.type().isWeightType() || shape.length != 2 || shape[0] == 0 || shape[1] == 0) {
      throw new LlaraException(
          "%s: tensor '%s' is %s of shape %s; expected F32, F16 or BF16 of shape [texts, dimension]"
              .formatted(file, VECTORS, vectors.type(), Arrays.toString(shape)));
    }
    if (keys.type() != StorageType.U8 || !keys.hasShape(shape[0], TextKind.KEY_BYTES)) {
      throw new LlaraException(
          "%s: tensor '%s' is %s of shape %s; expected U8 of shape [%d, %d], a key for each vector"
              .formatted(
                  file,
                  KEYS,
                  keys.type(),
                  Arrays.toString(keys.shape()),
                  shape[0],
                  TextKind.KEY_BYTES));
    }
    Part part =
        new Part(
            file,
            header.metadata().getOrDefault(TEACHER, "unknown"),
            rows(keys),
            stored.map(vectors));
    parts.add(part);
    requireSameTeacher(part, parts.get(0));
    requireDirections(part);
  }

  private static void requireSameTeacher(Part part, Part first) {
    if (part.dimension() != first.dimension()) {
      throw new LlaraException(
          "%s: its vectors have dimension %d, those of %s have %d; expected vectors of one teacher"
              .formatted(part.file(), part.dimension(), first.file(), first.dimension()));
    }
    if (!part.teacher().equals(first.teacher())) {
      throw new LlaraException(
          "%s: its teacher is %s, that of %s is %s; expected vectors of one teacher"
              .formatted(
                  part.file(),
                  Messages.quote(part.teacher()),
                  first.file(),
                  Messages.quote(first.teacher())));
    }
  }

  private static DigestTable rows(TensorEntry keys) {
    DigestTable rows = new DigestTable();
    long count = keys.length() / TextKind.KEY_BYTES;
    try (FileChannel channel = FileChannel.open(keys.file())) {
      ByteBuffer block = ByteBuffer.allocate(TextKind.KEY_BYTES << 12);
      byte[] key = new byte[TextKind.KEY_BYTES];
      long row = 0;
      for (long done = 0; done < keys.length(); done += block.limit()) {
        block.clear().limit((int) Math.min(block.capacity(), keys.length() - done));
        ByteChannels.readFully(channel, keys.offset() + done, block);
        block.flip();
        while (block.hasRemaining()) {
          block.get(key);
          if (rows.add(HashCode.fromBytes(key.clone())) != row) {
            throw new LlaraException(
                "%s: key %d of %d stands there twice".formatted(keys.file(), row, count));
          }
          row++;
        }
      }
    } catch (IOException e) {
      throw new LlaraException(
          "%s: cannot be read: %s".formatted(keys.file(), Messages.reason(e)), e);
    }
    return rows;
  }

  private static void requireDirections(Part part) {
    long count = part.vectors().size(0);
    long atOnce = Math.max(1, CHUNK / part.dimension());
    for (long first = 0; first < count; first += atOnce) {
      try (TensorScope scope = new TensorScope()) {
        Tensor some = part.vectors().narrow(0, first, Math.min(atOnce, count - first));
        float[] lengths = Tensors.toFloats(lengths(some.to(ScalarType.Float)));
        for (int i = 0; i < lengths.length; i++) {
          if (!(lengths[i] > 0 && lengths[i] < Float.POSITIVE_INFINITY)) {
            throw new LlaraException(
                "%s: vector %d of %d has the length %s; expected one that is finite and not zero"
                    .formatted(part.file(), first + i, count, lengths[i]));
          }
        }
      }
    }
  }

  private static Tensor lengths(Tensor vectors) {
    return torch.linalg_vector_norm(
        vectors, new Scalar(2.0), new long[] {1}, true, new ScalarTypeOptional());
  }

  /** Returns the length of the vectors. */
  public int dimension() {
    return Math.toIntExact(parts.get(0).dimension());
  }

  /** Returns how many vectors there are, in all files. */
  public long count() {
    return parts.stream().mapToLong(part -> part.rows().size()).sum();
  }

  /** Returns whether there is a vector of a text. */
  public boolean has(TextKind kind, String text) {
    HashCode key = kind.key(text);
    return parts.stream().anyMatch(part -> part.rows().find(key) >= 0);
  }

  /** Returns the vector of a text, scaled to length 1, if there is one. */
  public Optional<float[]> vector(TextKind kind, String text) {
    HashCode key = kind.key(text);
    for (Part part : parts) {
      int row = part.rows().find(key);
      if (row >= 0) {
        try (TensorScope scope = new TensorScope()) {
          Tensor vector = part.vectors().narrow(0, row, 1).to(ScalarType.Float);
          return Optional.of(Tensors.toFloats(vector.div(lengths(vector))));
        }
      }
    }
    return Optional.empty();
  }

  /** Ends the mappings. Closing twice is harmless. */
  @Override
  public void close() {
    parts.forEach(part -> part.vectors().close());
    parts.clear();
    stored.close();
  }
}
