package io.llara.checkpoint.gguf;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.JsonSection;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GgufHeaderTest {
  private static final int F32 = 0;

  @TempDir Path dir;

  private Path file() {
    return dir.resolve("model.gguf");
  }

  private GgufHeader read(GgufBuilder gguf) {
    return GgufHeader.read(gguf.write(file()));
  }

  private void assertRefused(GgufBuilder gguf, String... parts) {
    assertRefused(gguf.build(), ModelLoadException.class, parts);
  }

  private void assertRefused(
      byte[] bytes, Class<? extends ModelLoadException> kind, String... parts) {
    try {
      Files.write(file(), bytes);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    assertThatExceptionOfType(kind)
        .isThrownBy(() -> GgufHeader.read(file()))
        .withMessageStartingWith(file().toString())
        .satisfies(e -> assertThat(e.getMessage()).contains(parts));
  }

  private static GgufBuilder oneTensor() {
    return new GgufBuilder().tensor("t", new long[] {2, 3}, new float[] {1, 2, 3, 4, 5, 6});
  }

  @Test
  void readsValuesOfEveryType() {
    JsonSection metadata =
        read(oneTensor()
                .put("text", "é🦙")
                .put("empty", "")
                .put("u32", -1)
                .put("u64", 5L)
                .put("huge", -1L)
                .put("i8", new GgufBuilder.RawValue(1, new byte[] {-3}))
                .put("u16", new GgufBuilder.RawValue(2, new byte[] {-1, -1}))
                .put("i16", new GgufBuilder.RawValue(3, new byte[] {-1, -1}))
                .put("f32", 1e-5f)
                .put("f64", 0.1)
                .put("yes", true)
                .put("strings", List.of("a", "", "b"))
                .put("floats", new float[] {1.5f, 1e-5f})
                .put("ints", new int[] {3, -4})
                .put("bytes", new GgufBuilder.RawArray(0, 2, new byte[] {-1, 7})))
            .metadata();
    assertThat(metadata.string("text")).contains("é🦙");
    assertThat(metadata.string("empty")).contains("");
    assertThat(metadata.requiredLong("u32")).isEqualTo(4294967295L);
    assertThat(metadata.integer("i8")).contains(-3);
    assertThat(metadata.integer("u16")).contains(65535);
    assertThat(metadata.integer("i16")).contains(-1);
    assertThat(metadata.number("huge")).contains(0x1p64);
    assertThat(metadata.integer("u64")).contains(5);
    assertThat(metadata.number("f32")).contains(1e-5);
    assertThat(metadata.number("f64")).contains(0.1);
    assertThat(metadata.number("u64")).contains(5.0);
    assertThat(metadata.bool("yes")).contains(true);
    assertThat(metadata.strings("strings").orElseThrow()).containsExactly("a", "", "b");
    assertThat(metadata.numbers("floats").orElseThrow()).containsExactly(1.5, 1e-5);
    assertThat(metadata.numbers("ints").orElseThrow()).containsExactly(3.0, -4.0);
    assertThat(metadata.integers("ints")).containsExactly(3, -4);
    assertThat(metadata.integers("bytes")).containsExactly(255, 7);
    assertThat(metadata.string("absent")).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"integer", "string", "number", "bool", "strings", "numbers", "integers"})
  void aValueOfAnotherTypeIsNamed(String expected) {
    JsonSection metadata =
        read(oneTensor().put("k", new GgufBuilder.RawArray(7, 1, new byte[1]))).metadata();
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(
            () -> {
              switch (expected) {
                case "integer" -> metadata.integer("k");
                case "string" -> metadata.string("k");
                case "number" -> metadata.number("k");
                case "bool" -> metadata.bool("k");
                case "strings" -> metadata.strings("k");
                case "numbers" -> metadata.numbers("k");
                default -> metadata.integers("k");
              }
            })
        .withMessageMatching(".*metadata: key 'k(\\[0])?' is (a list|false); expected .*");
  }

  @Test
  void placesTensors() {
    GgufHeader header =
        read(oneTensor().tensor("u", new long[] {1, 32}, 8, new byte[34]).put("k", "v"));
    GgufTensor first = header.tensors().get("t");
    GgufTensor second = header.tensors().get("u");
    assertThat(first.shape()).containsExactly(2, 3);
    assertThat(first.length()).isEqualTo(24);
    assertThat(first.offset() % 32).isZero();
    assertThat(GgufRows.readWhole(file(), first)).containsExactly(1, 2, 3, 4, 5, 6);
    assertThat(second.type()).isEqualTo(GgufType.Q8_0);
    assertThat(second.rowBytes()).isEqualTo(34);
    assertThat(second.offset()).isEqualTo(first.offset() + 32);
  }

  @Test
  void readsVersionTwoAndOtherAlignments() {
    assertThat(read(oneTensor().version(2)).tensors()).containsKey("t");
    GgufHeader header = read(oneTensor().put("general.alignment", 256).alignment(256));
    assertThat(header.tensors().get("t").offset()).isEqualTo(256);
  }

  @Test
  void refusesOtherFilesAndVersions() throws IOException {
    byte[] bytes = oneTensor().build();
    assertRefused(new byte[3], ModelLoadException.class, "is not a GGUF file");
    byte[] other = bytes.clone();
    other[3] = 'X';
    assertRefused(other, ModelLoadException.class, "is not a GGUF file");
    assertRefused(
        oneTensor().version(1).build(),
        UnsupportedModelException.class,
        "version 1",
        "versions 2 and 3");
    assertRefused(oneTensor().version(4).build(), UnsupportedModelException.class, "version 4");
    assertRefused(
        oneTensor().version(Integer.reverseBytes(3)).build(),
        UnsupportedModelException.class,
        "big-endian");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> GgufHeader.read(dir.resolve("none.gguf")))
        .withMessageContaining("none.gguf: cannot be read: no such file");
  }

  @Test
  void refusesAFileThatEndsAnywhere() {
    byte[] bytes = oneTensor().put("key", "value").put("list", List.of("a", "b")).build();
    // The last eight bytes are padding after the tensor.
    for (int length = 0; length < bytes.length - 8; length++) {
      assertRefused(Arrays.copyOf(bytes, length), ModelLoadException.class, file().toString());
    }
  }

  @Test
  void refusesAbsurdCounts() {
    assertRefused(oneTensor().counts(1L << 60, 0), "number of tensors", "1152921504606846976");
    assertRefused(oneTensor().counts(-1L >>> 1, 0), "number of tensors");
    assertRefused(oneTensor().counts(1, 1L << 40), "number of metadata keys", "at most 65536");
    assertRefused(oneTensor().counts(200_000, 0), "truncated or damaged");
    assertRefused(oneTensor().counts(1, 60_000), "truncated or damaged");
  }

  @Test
  void refusesAbsurdLengths() {
    assertRefused(
        oneTensor().put("k", new GgufBuilder.RawValue(8, longs(1L << 50))),
        "'k'",
        "a string whose length in bytes is");
    assertRefused(
        oneTensor().put("k", new GgufBuilder.RawValue(8, longs(-1))), "18446744073709551615");
    assertRefused(
        oneTensor().put("k", new GgufBuilder.RawValue(8, longs(1 << 20))),
        "'k'",
        "needs 1048576 more bytes");
    assertRefused(
        oneTensor().put("k", new GgufBuilder.RawArray(0, 1L << 40, new byte[0])),
        "an array whose length is");
    assertRefused(
        oneTensor().put("k", new GgufBuilder.RawArray(12, 1 << 20, new byte[0])),
        "needs 8388608 more bytes");
    assertRefused(
        oneTensor().put("k", new GgufBuilder.RawArray(8, 1 << 20, new byte[0])), "more bytes");
    assertRefused(
        oneTensor().put("k".repeat(70_000), "v"), "metadata key number 0", "at most 65535");
    assertRefused(
        new GgufBuilder().tensor("n".repeat(65), new long[] {1}, new float[1]),
        "tensor number 0",
        "at most 64");
  }

  @Test
  void refusesAHeaderWithoutEnd() {
    GgufBuilder gguf = oneTensor().capacity(80 << 20);
    String text = "x".repeat(15 << 20);
    for (int i = 0; i < 5; i++) {
      gguf.put("k" + i, text);
    }
    assertRefused(gguf, "'k4'", "makes the header longer than 67108864 bytes");
    assertThat(read(gguf.put("k4", null)).metadata().keys()).hasSize(4);
  }

  @Test
  void refusesWhatMetadataCannotHold() {
    assertRefused(
        oneTensor().put("k", new GgufBuilder.RawValue(13, new byte[8])), "type 13", "0 to 12");
    assertRefused(oneTensor().put("k", new GgufBuilder.RawValue(7, new byte[] {2})), "truth value");
    assertRefused(
        oneTensor().put("k", new GgufBuilder.RawArray(9, 1, new byte[16])), "array of arrays");
    assertRefused(
        oneTensor().put("k", new GgufBuilder.RawValue(8, concat(longs(1), new byte[] {-1}))),
        "'k'",
        "not UTF-8");
    byte[] twice = oneTensor().put("one", "v").put("two", "v").build();
    int at = new String(twice, StandardCharsets.ISO_8859_1).indexOf("two");
    twice[at] = 'o';
    twice[at + 1] = 'n';
    twice[at + 2] = 'e';
    assertRefused(twice, ModelLoadException.class, "'one'", "occurs twice");
    assertRefused(oneTensor().put("general.alignment", 0), "general.alignment", "power of two");
    assertRefused(oneTensor().put("general.alignment", 24), "general.alignment", "is 24");
    assertRefused(oneTensor().put("general.alignment", "32"), "general.alignment", "the string");
  }

  @Test
  void refusesImpossibleTensors() {
    assertRefused(tensor(new long[0], F32, 0), "'t'", "0 dimensions");
    assertRefused(tensor(new long[5], F32, 0), "'t'", "5 dimensions");
    assertRefused(tensor(new long[] {0, 3}, F32, 0), "'t'", "size of 0");
    assertRefused(tensor(new long[] {3, -1}, F32, 0), "size of 18446744073709551615");
    assertRefused(tensor(new long[] {1L << 40, 1L << 40}, F32, 0), "'t'", "too large");
    assertRefused(tensor(new long[] {1L << 61}, F32, 0), "'t'", "too large");
    assertRefused(tensor(new long[] {33}, 8, 0), "rows of 33 elements", "Q8_0 has blocks of 32");
    assertRefused(oneTensor().tensor("t", new long[] {1}, new float[1]), "'t'", "occurs twice");
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> read(tensor(new long[] {256}, 12, 0)))
        .withMessageContaining("'t' has type Q4_K (number 12)")
        .withMessageContaining("F32, F16, BF16, Q4_0");
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> read(tensor(new long[] {256}, 99, 0)))
        .withMessageContaining("number 99");
  }

  @Test
  void refusesTensorsThatAreNotWhereTheyCanBe() {
    assertRefused(tensor(new long[] {8}, F32, 32), "'t'", "begins at byte 32", "truncated");
    assertRefused(tensor(new long[] {9}, F32, 0), "'t'", "has 36", "truncated");
    assertRefused(tensor(new long[] {4}, F32, 4), "'t'", "multiple of 32");
    assertRefused(tensor(new long[] {4}, F32, -32), "'t'", "18446744073709551584");
    assertRefused(tensor(new long[] {4}, F32, Long.MAX_VALUE - 31), "'t'", "truncated");
    assertRefused(
        oneTensor().rawTensor("u", new long[] {2}, F32, 0, new byte[8]), "where 't' lies until");
    assertRefused(
        new GgufBuilder()
            .rawTensor("big", new long[] {16}, F32, 0, new byte[64])
            .rawTensor("inside", new long[] {1}, F32, 32, new byte[32]),
        "'inside'",
        "where 'big' lies");
  }

  private static GgufBuilder tensor(long[] dimensions, int type, long offset) {
    return new GgufBuilder().rawTensor("t", dimensions, type, offset, new byte[32]);
  }

  private static byte[] longs(long value) {
    return ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array();
  }

  private static byte[] concat(byte[] a, byte[] b) {
    byte[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }
}
