package io.llara.train.teacher;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.common.hash.HashCode;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.io.ByteChannels;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TeacherVectorsTest {
  private static final String PAIR =
      "{\"query\": \"a dog\", \"pos\": [\"the dog\", \"a dog\"], \"neg\": [\"the cat\"]}";
  private static final String PASSAGES = "{\"text\": \"the caf\u00e9\"}\n{\"text\": \"the dog\"}";

  @TempDir Path dir;
  private Path data;
  private Path out;

  /** Every vector says what it is of, and is not of length 1. */
  private static class Fake implements Encoder {
    final List<String> encoded = new ArrayList<>();

    @Override
    public float[] encode(String text, Mode mode) {
      encoded.add(mode + " " + text);
      return vector(text, mode);
    }

    static float[] vector(String text, Mode mode) {
      return new float[] {text.length(), text.hashCode() % 100, mode == Mode.NEXT ? 7 : -7};
    }

    @Override
    public int dimension() {
      return 3;
    }
  }

  @BeforeEach
  void write() throws IOException {
    data = Files.writeString(dir.resolve("pairs.jsonl"), PAIR + "\n" + PAIR + "\n" + PASSAGES);
    out = dir.resolve("teacher.safetensors");
  }

  private Fake teach() {
    Fake teacher = new Fake();
    TeacherTexts.read(List.of(data)).write(teacher, "fake", out);
    return teacher;
  }

  @Test
  void everyTextIsEmbeddedOnceAsWhatItIs() {
    TeacherTexts texts = TeacherTexts.read(List.of(data));
    assertThat(texts.count(TextKind.QUERY)).isEqualTo(1);
    assertThat(texts.count(TextKind.PASSAGE)).isEqualTo(4);
    assertThat(texts.count()).isEqualTo(5);
    assertThat(teach().encoded)
        .containsExactly(
            "NEXT a dog", "SELF the dog", "SELF a dog", "SELF the cat", "SELF the caf\u00e9");
    try (TeacherVectors vectors = TeacherVectors.open(List.of(out))) {
      assertThat(vectors.count()).isEqualTo(5);
      assertThat(vectors.dimension()).isEqualTo(3);
      for (String text : List.of("the dog", "a dog", "the cat", "the caf\u00e9")) {
        assertVector(vectors, TextKind.PASSAGE, text, Fake.vector(text, Mode.SELF));
      }
      assertVector(vectors, TextKind.QUERY, "a dog", Fake.vector("a dog", Mode.NEXT));
      assertThat(vectors.vector(TextKind.QUERY, "the dog")).isEmpty();
      assertThat(vectors.has(TextKind.QUERY, "the dog")).isFalse();
      assertThat(vectors.has(TextKind.PASSAGE, "the dog ")).isFalse();
    }
  }

  private static void assertVector(
      TeacherVectors vectors, TextKind kind, String text, float[] expected) {
    float[] found = vectors.vector(kind, text).orElseThrow();
    assertThat(Similarity.dot(found, found)).isCloseTo(1, within(1e-6));
    assertThat(Similarity.cosine(found, expected)).isCloseTo(1, within(1e-6));
  }

  /** Another program may write these files: the form is kept. */
  @Test
  void aKeyIsTheDigestOfKindAndText() {
    // printf 'qa dog' | sha256sum
    assertThat(TextKind.QUERY.key("a dog"))
        .isEqualTo(HashCode.fromString("bf45bfb7d0ef50810c48fc3f1d1ce5c5"));
    // printf 'pthe caf\303\251' | sha256sum
    assertThat(TextKind.PASSAGE.key("the caf\u00e9"))
        .isEqualTo(HashCode.fromString("d26f10cedc623fb89a2030c0869a954b"));
    teach();
    SafetensorsFile file = SafetensorsFile.open(out);
    assertThat(file.metadata()).containsEntry("teacher", "fake");
    assertThat(file.entry("vectors").type()).isEqualTo(StorageType.F16);
    assertThat(file.entry("vectors").shape()).containsExactly(5, 3);
    assertThat(file.entry("keys").shape()).containsExactly(5, 16);
  }

  @Test
  void filesOfOneTeacherAreTakenTogether() throws IOException {
    teach();
    Path more = dir.resolve("more.jsonl.gz");
    try (GZIPOutputStream zip = new GZIPOutputStream(Files.newOutputStream(more))) {
      zip.write(
          "{\"text\": \"a bird\"}\n{\"text\": \"the dog\"}\n".getBytes(StandardCharsets.UTF_8));
    }
    Path second = dir.resolve("second.safetensors");
    TeacherTexts.read(List.of(more)).write(new Fake(), "fake", second);
    try (TeacherVectors vectors = TeacherVectors.open(List.of(out, second))) {
      assertThat(vectors.count()).isEqualTo(7);
      assertVector(vectors, TextKind.PASSAGE, "a bird", Fake.vector("a bird", Mode.SELF));
      assertVector(vectors, TextKind.PASSAGE, "the cat", Fake.vector("the cat", Mode.SELF));
    }
    TeacherTexts.read(List.of(more)).write(new Fake(), "other", second);
    assertRefused(
        List.of(out, second), second + ": its teacher is 'other'", out.toString(), "'fake'");
  }

  @Test
  void textsThatCannotBeTaughtAreNamedAndNothingIsWritten() throws IOException {
    Files.writeString(data, PAIR + "\n{\"answer\": 3}");
    assertThatThrownBy(this::teach)
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(data + ":2: ");
    Files.writeString(data, "");
    assertThatThrownBy(this::teach)
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("no text");
    Files.writeString(data, PAIR);
    for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, 0}) {
      Encoder broken =
          new Fake() {
            @Override
            public float[] encode(String text, Mode mode) {
              return text.equals("the cat") ? new float[] {bad, 0, 0} : super.encode(text, mode);
            }
          };
      assertThatThrownBy(() -> TeacherTexts.read(List.of(data)).write(broken, "x", out))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining("'the cat'");
    }
    TeacherTexts read = TeacherTexts.read(List.of(data));
    Files.writeString(data, PASSAGES);
    assertThatThrownBy(() -> read.write(new Fake(), "x", out))
        .isInstanceOf(LlaraException.class)
        .hasMessage(data + ": changed while it was read");
    try (var files = Files.list(dir)) {
      assertThat(files).containsExactly(data);
    }
  }

  private static void assertRefused(List<Path> files, String... parts) {
    assertThatThrownBy(() -> TeacherVectors.open(files))
        .isInstanceOf(LlaraException.class)
        .hasMessageContainingAll(parts);
  }

  @Test
  void aTruncatedFileIsNamed() throws IOException {
    teach();
    byte[] bytes = Files.readAllBytes(out);
    Files.write(out, Arrays.copyOf(bytes, bytes.length - 1));
    assertRefused(List.of(out), out.toString(), "truncated");
    Files.write(out, Arrays.copyOf(bytes, 40));
    assertRefused(List.of(out), out.toString(), "truncated");
    Files.delete(out);
    assertRefused(List.of(out), out.toString(), "no such file");
  }

  @Test
  void filesOfAnotherFormAreNamed() {
    float[] two = {1, 0, 0, 1, 1, 1};
    write("keys", 2, 3, two);
    assertRefused(List.of(out), out.toString(), "has no tensor 'vectors'");
    write("vectors", 3, 2, two);
    assertRefused(
        List.of(out), "tensor 'keys' is U8 of shape [2, 16]; expected U8 of shape [3, 16]");
    write("vectors", 2, 3, two);
    try (TeacherVectors vectors = TeacherVectors.open(List.of(out))) {
      assertThat(vectors.count()).isEqualTo(2);
    }
    Path other = out;
    out = dir.resolve("wide.safetensors");
    write("vectors", 2, 4, new float[] {1, 0, 0, 1, 1, 1, 0, 0});
    assertRefused(List.of(other, out), out + ": its vectors have dimension 4", other + " have 3");
  }

  @Test
  void vectorsWithoutADirectionAreNamed() {
    for (float bad : new float[] {Float.NaN, Float.NEGATIVE_INFINITY}) {
      write("vectors", 2, 3, new float[] {1, 0, 0, 1, bad, 1});
      assertRefused(List.of(out), out + ": vector 1 of 2 has the length ");
    }
    write("vectors", 2, 3, new float[] {0, 0, 0, 1, 0, 1});
    assertRefused(List.of(out), out + ": vector 0 of 2 has the length 0");
  }

  @Test
  void aKeyThatStandsThereTwiceIsNamed() {
    write("vectors", 2, 3, new float[] {1, 0, 0, 1, 0, 1}, (byte) 0);
    assertRefused(List.of(out), out + ": key 1 of 2 stands there twice");
  }

  private void write(String name, int rows, int columns, float[] values) {
    write(name, rows, columns, values, (byte) 1);
  }

  /** Writes vectors and two keys, of which the second has this byte at its end. */
  private void write(String name, int rows, int columns, float[] values, byte last) {
    byte[] keys = new byte[32];
    keys[31] = last;
    SafetensorsWriter writer =
        new SafetensorsWriter()
            .add(
                name.equals("keys") ? "other" : name,
                StorageType.F32,
                new long[] {rows, columns},
                values);
    writer
        .add(
            "keys",
            StorageType.U8,
            new long[] {2, 16},
            channel -> ByteChannels.writeFully(channel, ByteBuffer.wrap(keys)))
        .write(out);
  }
}
