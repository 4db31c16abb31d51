package io.llara.checkpoint;

import static io.llara.checkpoint.Checkpoints.entry;
import static io.llara.checkpoint.Checkpoints.safetensors;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsFileTest {
  private static final String A = entry("a", "F32", "[2]", 0, 8);

  @TempDir Path dir;

  private Path file(byte[] content) throws IOException {
    return Files.write(dir.resolve("x.safetensors"), content);
  }

  @Test
  void readsEntriesInTheirOrder() throws IOException {
    String header =
        "{"
            + entry("b", "F16", "[2,3]", 8, 20)
            + ",\"__metadata__\":{\"format\":\"pt\"},"
            + entry("a", "F32", "[2]", 0, 8)
            + ","
            + entry("none", "I64", "[0,5]", 20, 20)
            + ","
            + entry("scalar", "U8", "[]", 20, 21)
            + "}   ";
    SafetensorsFile file = SafetensorsFile.open(file(safetensors(header, 21)));
    assertThat(file.entries().keySet()).containsExactly("b", "a", "none", "scalar");
    assertThat(file.metadata()).isEqualTo(Map.of("format", "pt"));
    assertThat(file.entry("b").shape()).containsExactly(2, 3);
    TensorEntry b = file.entry("b");
    assertThat(b.offset()).isEqualTo(8 + header.length() + 8);
    assertThat(b.length()).isEqualTo(12);
    assertThat(b.elements()).isEqualTo(6);
    assertThat(file.entry("scalar").elements()).isEqualTo(1);
  }

  @Test
  void readsAFileWithoutTensors() throws IOException {
    assertThat(SafetensorsFile.open(file(safetensors("{}", 0))).entries()).isEmpty();
  }

  @Test
  void widensEveryFloatType() throws IOException {
    String header =
        "{"
            + entry("d", "F64", "[1]", 0, 8)
            + ","
            + entry("f", "F32", "[1]", 8, 12)
            + ","
            + entry("h", "F16", "[1]", 12, 14)
            + ","
            + entry("b", "BF16", "[1]", 14, 16)
            + "}";
    byte[] bytes = safetensors(header, 16);
    ByteBuffer.wrap(bytes, bytes.length - 16, 16)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putDouble(0.1)
        .putFloat(0.1f)
        .putShort((short) 0x3e00)
        .putShort((short) 0xc020);
    SafetensorsFile file = SafetensorsFile.open(file(bytes));
    assertThat(file.entry("d").readDoubles()).containsExactly(0.1);
    assertThat(file.entry("f").readFloats()).containsExactly(0.1f);
    assertThat(file.entry("f").readDoubles()).containsExactly(0.1f);
    assertThat(file.entry("h").readFloats()).containsExactly(1.5f);
    assertThat(file.entry("b").readFloats()).containsExactly(-2.5f);
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> file.entry("d").readFloats())
        .withMessageContaining("x.safetensors: tensor 'd' has type F64; expected F32, F16 or BF16");
  }

  @Test
  void namesAnAbsentTensorAndAWrongType() throws IOException {
    String header = "{" + entry("i", "I32", "[1]", 0, 4) + "}";
    SafetensorsFile file = SafetensorsFile.open(file(safetensors(header, 4)));
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> file.entry("nix").shape())
        .withMessageContaining("x.safetensors: has no tensor 'nix'");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> file.entry("i").readDoubles())
        .withMessageContaining("tensor 'i' has type I32; expected F64, F32, F16 or BF16");
  }

  @Test
  void tellsWhenTheFileShrankAfterOpening() throws IOException {
    Path path = file(safetensors("{" + A + "}", 8));
    SafetensorsFile file = SafetensorsFile.open(path);
    try (RandomAccessFile raw = new RandomAccessFile(path.toFile(), "rw")) {
      raw.setLength(raw.length() - 1);
    }
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> file.entry("a").readFloats())
        .withMessageContaining("tensor 'a' cannot be read: the file ends too early");
  }

  @Test
  void namesAMissingFile() {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> SafetensorsFile.open(dir.resolve("nix.safetensors")))
        .withMessageContaining("nix.safetensors: cannot be read: no such file");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 7})
  void refusesAFileShorterThanItsLengthField(int size) throws IOException {
    Path path = file(new byte[size]);
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> SafetensorsFile.open(path))
        .withMessageContaining("has %d bytes; a safetensors file begins with 8", size);
  }

  @ParameterizedTest
  @ValueSource(longs = {0, 1, 100_000_001, Long.MAX_VALUE, -1, Long.MIN_VALUE})
  void refusesAnAbsurdHeaderLength(long length) throws IOException {
    Path path =
        file(ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN).putLong(length).array());
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> SafetensorsFile.open(path))
        .withMessageContaining("the header length is " + Long.toUnsignedString(length))
        .withMessageContaining("expected 2 to 100000000");
  }

  @Test
  void refusesAHeaderLongerThanTheFile() throws IOException {
    Path path = file(ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN).putLong(57).array());
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> SafetensorsFile.open(path))
        .withMessageContaining("the header length is 57 but only 56 bytes follow it");
  }

  static Stream<Arguments> damagedHeaders() {
    return Stream.of(
        arguments("", 8, "the header length is 0"),
        arguments("[]", 0, "tensor 'header' has BEGIN_ARRAY at '$'; expected BEGIN_OBJECT"),
        arguments("{" + A, 8, "not valid JSON"),
        arguments("{" + A + "}x", 8, "not valid JSON"),
        arguments("{" + A + "}{}", 8, "not valid JSON"),
        arguments("{" + A + ",}", 8, "not valid JSON"),
        arguments("{" + A.replace('"', '\'') + "}", 8, "not valid JSON"),
        arguments("{" + A + "} // no", 8, "not valid JSON"),
        arguments("{\"a\":NaN}", 8, "not valid JSON"),
        arguments("{\"a\":" + "[".repeat(100_000), 8, "tensor 'a' has BEGIN_ARRAY"),
        arguments("{" + A + "," + A + "}", 8, "tensor 'a' occurs twice"),
        arguments("{\"a\":null}", 0, "tensor 'a' has NULL at '$.a'; expected BEGIN_OBJECT"),
        arguments("{\"a\":{}}", 0, "tensor 'a' has no dtype"),
        arguments("{\"a\":{\"dtype\":\"F32\"}}", 0, "tensor 'a' has no shape"),
        arguments("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, "tensor 'a' has no data_offsets"),
        arguments("{\"a\":{\"dtype\":7}}", 0, "tensor 'a' has NUMBER at '$.a.dtype'"),
        arguments("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, "has the key 'dtype' twice"),
        arguments("{\"a\":{\"strides\":[1]}}", 0, "tensor 'a' has the key 'strides'"),
        arguments("{\"a\":{\"shape\":[\"2\"]}}", 0, "tensor 'a' has STRING at '$.a.shape[0]'"),
        arguments("{\"a\":{\"shape\":[-2]}}", 0, "tensor 'a' has '-2' in shape"),
        arguments("{\"a\":{\"shape\":[2.0]}}", 0, "tensor 'a' has '2.0' in shape"),
        arguments("{\"a\":{\"shape\":[1e3]}}", 0, "tensor 'a' has '1e3' in shape"),
        arguments(
            "{\"a\":{\"shape\":[9999999999999999999]}}",
            0,
            "tensor 'a' has '9999999999999999999' in shape"),
        arguments("{\"a\":{\"shape\":[" + "1,".repeat(16) + "1]}}", 0, "has more than 16 numbers"),
        arguments(
            "{" + entry("a", "F32", "[4294967296,4294967296,4294967296]", 0, 8) + "}",
            8,
            "tensor 'a': shape [4294967296, 4294967296, 4294967296] is too large"),
        arguments(
            "{" + entry("a", "F32", "[3]", 0, 8) + "}",
            8,
            "tensor 'a' has data_offsets [0, 8], 8 bytes; F32 of shape [3] needs 12"),
        arguments("{" + entry("a", "F32", "[2]", 8, 0) + "}", 8, "tensor 'a' has data_offsets"),
        arguments(
            "{" + A + "}", 7, "tensor 'a' has data_offsets [0, 8]; expected begin <= end <= 7"),
        arguments(A.replace("[0,8]", "[0]").transform(a -> "{" + a + "}"), 8, "expected [begin"),
        arguments(
            "{" + A + "," + entry("b", "F32", "[2]", 4, 12) + "}",
            12,
            "tensor 'b' begins at byte %d of the file, where another tensor still lies"),
        arguments(
            "{" + A + "," + entry("b", "F32", "[1]", 12, 16) + "}",
            16,
            "the 4 bytes before it belong to no tensor"),
        arguments("{" + entry("a", "F32", "[1]", 4, 8) + "}", 8, "the 4 bytes before it belong to"),
        arguments("{" + A + "}", 9, "what follows belongs to none"),
        arguments("{\"__metadata__\":{\"a\":1}}", 0, "'__metadata__' has NUMBER"),
        arguments("{\"__metadata__\":[]}", 0, "'__metadata__' has BEGIN_ARRAY"),
        arguments("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "'__metadata__' occurs twice"),
        arguments("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, "has the key 'a' twice"));
  }

  @ParameterizedTest
  @MethodSource("damagedHeaders")
  void refusesADamagedHeader(String header, int dataBytes, String message) throws IOException {
    Path path = file(safetensors(header, dataBytes));
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> SafetensorsFile.open(path))
        .withMessageStartingWith(path.toString())
        .withMessageContaining(message.replace("%d", Integer.toString(8 + header.length() + 4)));
  }

  @Test
  void refusesBytesThatAreNotUtf8() throws IOException {
    byte[] bytes = safetensors("{\"??\":{}}", 0);
    bytes[10] = (byte) 0xff;
    Path path = file(bytes);
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> SafetensorsFile.open(path))
        .withMessageContaining("not valid JSON");
  }

  @Test
  void refusesAnUnknownTypeByName() throws IOException {
    Path path = file(safetensors("{" + entry("a", "Q4_K", "[2]", 0, 8) + "}", 8));
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> SafetensorsFile.open(path))
        .withMessageContaining("tensor 'a' has type 'Q4_K'; known: [F64, F32, F16, BF16");
  }

  @Test
  void showsAHostileNameOnOneShortLine() throws IOException {
    String name = "\\n".repeat(10) + "x".repeat(10_000);
    Path path = file(safetensors("{" + entry(name, "F32", "[2]", 8, 0) + "}", 8));
    assertThatThrownBy(() -> SafetensorsFile.open(path))
        .satisfies(e -> assertThat(e.getMessage()).hasSizeLessThan(600).doesNotContain("\n"));
  }

  @Test
  void entriesAreValues() {
    Path path = Path.of("f");
    TensorEntry entry = new TensorEntry("a", StorageType.F32, new long[] {2}, path, 8, 8);
    TensorEntry same = new TensorEntry("a", StorageType.F32, new long[] {2}, path, 8, 8);
    assertThat(entry).isEqualTo(same).hasSameHashCodeAs(same).hasToString("a F32[2] in f [8, 16)");
    assertThat(entry).isNotEqualTo(entry.withName("b"));
    entry.shape()[0] = 7;
    assertThat(entry.hasShape(2)).isTrue();
    assertThatThrownBy(() -> new TensorEntry("a", StorageType.F32, new long[] {2}, path, 8, 9))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("length is 9; F32 of shape [2] needs 8");
    assertThatThrownBy(() -> new TensorEntry("a", StorageType.F32, new long[] {-2}, path, 8, 8))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("negative");
    assertThatThrownBy(() -> new TensorEntry("a", StorageType.F32, new long[] {2}, path, -8, 8))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("offset is -8");
  }

  @Test
  void refusesToReadMoreThanAnArrayHolds() {
    long elements = 1L << 32;
    TensorEntry entry =
        new TensorEntry("big", StorageType.F32, new long[] {elements}, dir, 0, elements * 4);
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(entry::readFloats)
        .withMessageContaining("tensor 'big' has 4294967296 elements");
  }
}
