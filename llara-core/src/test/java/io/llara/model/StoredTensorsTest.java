package io.llara.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.ModelLoadException;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.tensor.Libtorch;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StoredTensorsTest {
  private static final float[] VALUES = {1, -2, 0.5f, 3, 4, 5.25f};

  @TempDir Path dir;
  private Path file;

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  @BeforeEach
  void write() {
    // An accent in the name where this process can name files so: not without a UTF-8 locale.
    boolean accents =
        Charset.forName(System.getProperty("sun.jnu.encoding", "UTF-8"))
            .newEncoder()
            .canEncode('é');
    file = dir.resolve(accents ? "wéights.safetensors" : "weights.safetensors");
    SafetensorsWriter writer = new SafetensorsWriter();
    for (StorageType type : List.of(StorageType.F32, StorageType.F16, StorageType.BF16)) {
      writer.add(type.name(), type, new long[] {2, 3}, VALUES);
    }
    writer.write(file);
  }

  private TensorEntry entry(String name) {
    return SafetensorsFile.open(file).entries().get(name);
  }

  @Test
  void mappedAndReadAreWhatWasWritten() throws Throwable {
    Leaks.assertNone(
        () -> {
          for (String name : List.of("F32", "F16", "BF16")) {
            try (StoredTensors stored = new StoredTensors();
                Tensor mapped = stored.map(entry(name));
                Tensor read = stored.read(entry(name))) {
              assertThat(Tensors.toFloats(mapped)).isEqualTo(VALUES);
              assertThat(Tensors.toFloats(read)).isEqualTo(VALUES);
              assertThat(mapped.size(0)).isEqualTo(2);
            }
          }
        });
  }

  @Test
  void aMappedTensorOutlivesItsSource() {
    Tensor mapped;
    try (StoredTensors stored = new StoredTensors()) {
      mapped = stored.map(entry("F32"));
    }
    assertThat(Tensors.toFloats(mapped)).isEqualTo(VALUES);
    mapped.close();
  }

  @Test
  void aTensorAtAnOddOffsetIsReadInstead() throws Exception {
    String header =
        "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}".replace("[1]", "[1] ");
    while (header.length() % 4 != 1) {
      header += " ";
    }
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    Path odd = dir.resolve("odd.safetensors");
    Files.write(
        odd,
        ByteBuffer.allocate(8 + json.length + 4)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(json.length)
            .put(json)
            .putFloat(2.5f)
            .array());
    try (StoredTensors stored = new StoredTensors();
        Tensor tensor = stored.map(SafetensorsFile.open(odd).entries().get("x"))) {
      assertThat(Tensors.toFloats(tensor)).containsExactly(2.5f);
    }
  }

  @Test
  void aFileThatBecameShorterIsNamed() throws Throwable {
    TensorEntry entry = entry("BF16");
    try (RandomAccessFile shrinking = new RandomAccessFile(file.toFile(), "rw")) {
      shrinking.setLength(entry.offset() + 2);
    }
    Leaks.assertNone(
        () -> {
          try (StoredTensors stored = new StoredTensors()) {
            assertThatThrownBy(() -> stored.map(entry))
                .isInstanceOf(ModelLoadException.class)
                .hasMessageContainingAll("BF16", "shorter");
            assertThatThrownBy(() -> stored.read(entry))
                .isInstanceOf(ModelLoadException.class)
                .hasMessageContainingAll("BF16", "shorter");
          }
        });
  }

  @Test
  void aFileThatIsGoneIsNamed() throws Throwable {
    TensorEntry entry = entry("F32");
    Files.delete(file);
    Leaks.assertNone(
        () -> {
          try (StoredTensors stored = new StoredTensors()) {
            assertThatThrownBy(() -> stored.map(entry))
                .isInstanceOf(ModelLoadException.class)
                .hasMessageContaining("ights.safetensors");
            assertThatThrownBy(() -> stored.read(entry))
                .isInstanceOf(ModelLoadException.class)
                .hasMessageContaining("F32");
          }
        });
  }

  @Test
  void storageTypesHaveNames() {
    assertThat(StoredTensors.scalarType(StorageType.F16)).isEqualTo(ScalarType.Half);
    assertThat(StoredTensors.scalarType(StorageType.BF16)).isEqualTo(ScalarType.BFloat16);
    assertThat(StoredTensors.scalarType(StorageType.F32)).isEqualTo(ScalarType.Float);
  }
}
