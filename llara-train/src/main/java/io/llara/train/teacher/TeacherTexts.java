package io.llara.train.teacher;

import com.google.common.collect.AbstractIterator;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.Streams;
import com.google.common.hash.HashCode;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.io.ByteChannels;
import io.llara.io.JsonSection;
import io.llara.io.LineReader;
import io.llara.io.Messages;
import io.llara.retrieval.DigestTable;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorFile;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * The texts of data files, each once, for a teacher to embed. A line is a pair, {@code {"query": …,
 * "pos": […], "neg": […]}}, or a passage, {@code {"text": …}}; files may mix them, other keys are
 * passed over.
 *
 * <pre>{@code
 * TeacherTexts texts = TeacherTexts.read(List.of(Path.of("pairs.jsonl.gz")));
 * try (Encoder teacher = Encoder.load(Path.of("teacher"))) {
 *   texts.write(teacher, "teacher", Path.of("pairs.teacher.safetensors"));
 * }
 * }</pre>
 *
 * <p>The files are read anew for each kind of text; texts are not kept, some 50 bytes are taken for
 * each. Not thread-safe.
 */
public final class TeacherTexts {
  /** Vectors that are narrowed and written at a time. */
  private static final int ROWS = 256;

  private final ImmutableList<Path> files;

  /** By kind. */
  private final List<Known> known = Stream.of(TextKind.values()).map(kind -> new Known()).toList();

  /** The texts of a kind by their keys, and the keys one after another. */
  private static final class Known {
    final DigestTable numbers = new DigestTable();
    final ByteArrayOutputStream keys = new ByteArrayOutputStream();

    void add(HashCode key) {
      int before = numbers.size();
      if (numbers.add(key) == before) {
        keys.writeBytes(key.asBytes());
      }
    }
  }

  private TeacherTexts(List<Path> files) {
    this.files = ImmutableList.copyOf(files);
  }

  /**
   * Reads files and counts their texts.
   *
   * @throws LlaraException if there is no text, a file cannot be read, or a line is of another
   *     form; names file and line
   */
  public static TeacherTexts read(List<Path> files) {
    TeacherTexts texts = new TeacherTexts(files);
    for (Path file : files) {
      try (LineReader lines = LineReader.open(file, "JSON lines of pairs or texts")) {
        while (lines.advance()) {
          JsonSection line = lines.json();
          for (TextKind kind : TextKind.values()) {
            Known all = texts.known(kind);
            forEach(line, kind, text -> all.add(kind.key(text)));
          }
        }
      }
    }
    if (texts.count() == 0) {
      throw new LlaraException(texts.name() + ": no text in it");
    }
    return texts;
  }

  private String name() {
    return files.stream().map(Path::toString).collect(Collectors.joining(", "));
  }

  private Known known(TextKind kind) {
    return known.get(kind.ordinal());
  }

  private static void forEach(JsonSection line, TextKind kind, Consumer<String> receiver) {
    boolean pair = line.mentions("query");
    if (!pair && !line.mentions("text")) {
      throw line.missing("query", "the query of a pair, or 'text', a passage");
    }
    if (kind == TextKind.QUERY) {
      if (pair) {
        receiver.accept(line.requiredText("query"));
      }
    } else if (pair) {
      line.texts("pos").ifPresent(texts -> texts.forEach(receiver));
      line.texts("neg").ifPresent(texts -> texts.forEach(receiver));
    } else {
      receiver.accept(line.requiredText("text"));
    }
  }

  /** Returns how many different texts of a kind there are. */
  public int count(TextKind kind) {
    return known(kind).numbers.size();
  }

  /** Returns how many different texts there are; one that is query and passage counts twice. */
  public long count() {
    return known.stream().mapToLong(all -> all.numbers.size()).sum();
  }

  /**
   * Embeds the texts, queries in the encoder's mode and length of queries, passages in those of
   * passages, and writes a file for {@link TeacherVectors}: vectors of length 1 in float16. It
   * appears when all is done.
   *
   * @param teacher what the file says of what made it: the same for the same vectors
   * @throws LlaraException if a vector is not finite or zero, the files changed since they were
   *     read, or as {@link Encoder#encodeAll} and {@link SafetensorsWriter#write}
   */
  public void write(Encoder encoder, String teacher, Path out) {
    Libtorch.load();
    int dimension = encoder.dimension();
    new SafetensorsWriter()
        .metadata(TeacherVectors.TEACHER, teacher)
        .add(
            TeacherVectors.VECTORS,
            StorageType.F16,
            new long[] {count(), dimension},
            channel -> {
              Rows rows = new Rows(channel, dimension);
              embed(encoder.forQueries(), encoder.modes().query(), TextKind.QUERY, rows);
              embed(encoder.forPassages(), encoder.modes().passage(), TextKind.PASSAGE, rows);
              rows.flush();
            })
        .add(
            TeacherVectors.KEYS,
            StorageType.U8,
            new long[] {count(), TextKind.KEY_BYTES},
            channel -> {
              for (Known all : known) {
                ByteChannels.writeFully(channel, ByteBuffer.wrap(all.keys.toByteArray()));
              }
            })
        .write(out);
  }

  private void embed(Encoder encoder, Mode mode, TextKind kind, Rows rows) throws IOException {
    try (Distinct texts = new Distinct(kind)) {
      encoder.encodeAll(
          Streams.stream(texts), mode, (index, text, vector) -> rows.add(text, vector));
      texts.requireAll();
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  /** The texts of a kind in the order of their keys. */
  private final class Distinct extends AbstractIterator<String> implements AutoCloseable {
    private final TextKind kind;
    private final Deque<Path> left = new ArrayDeque<>(files);
    private final Deque<String> ready = new ArrayDeque<>();
    private @Nullable LineReader lines;
    private int given;

    Distinct(TextKind kind) {
      this.kind = kind;
    }

    @Override
    protected @Nullable String computeNext() {
      while (ready.isEmpty()) {
        if (lines == null || !lines.advance()) {
          close();
          if (left.isEmpty()) {
            return endOfData();
          }
          lines = new LineReader(left.remove());
        } else {
          // A text has come before unless its number is the next.
          forEach(
              lines.json(),
              kind,
              text -> {
                int number = known(kind).numbers.find(kind.key(text));
                if (number < 0) {
                  throw changed();
                }
                if (number == given) {
                  given++;
                  ready.add(text);
                }
              });
        }
      }
      return ready.remove();
    }

    void requireAll() {
      if (given != count(kind)) {
        throw changed();
      }
    }

    private LlaraException changed() {
      return new LlaraException(name() + ": changed while it was read");
    }

    @Override
    public void close() {
      if (lines != null) {
        lines.close();
        lines = null;
      }
    }
  }

  /** Writes vectors, some at a time. */
  private static final class Rows {
    private final WritableByteChannel out;
    private final int dimension;
    private final List<float[]> waiting = new ArrayList<>();

    Rows(WritableByteChannel out, int dimension) {
      this.out = out;
      this.dimension = dimension;
    }

    void add(String text, float[] vector) {
      double squares = 0;
      for (float value : vector) {
        squares += (double) value * value;
      }
      double length = Math.sqrt(squares);
      if (vector.length != dimension || !(length > 0 && length < Double.POSITIVE_INFINITY)) {
        throw new LlaraException(
            "the teacher's vector of %s has %d elements and the length %s; expected %d and a finite length above 0"
                .formatted(Messages.quote(text), vector.length, length, dimension));
      }
      float[] unit = new float[dimension];
      for (int i = 0; i < dimension; i++) {
        unit[i] = (float) (vector[i] / length);
      }
      waiting.add(unit);
      if (waiting.size() == ROWS) {
        try {
          flush();
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      }
    }

    void flush() throws IOException {
      float[] values = new float[waiting.size() * dimension];
      for (int i = 0; i < waiting.size(); i++) {
        System.arraycopy(waiting.get(i), 0, values, i * dimension, dimension);
      }
      waiting.clear();
      try (TensorScope scope = new TensorScope()) {
        TensorFile.write(Tensors.ofFloats(values, values.length), ScalarType.Half, out);
      }
    }
  }
}
