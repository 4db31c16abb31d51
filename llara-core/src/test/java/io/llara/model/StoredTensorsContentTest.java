package io.llara.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class StoredTensorsContentTest {
  @TempDir Path dir;

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "F16", "BF16"})
  void theSameBytesAsOfAnArray(StorageType type) throws Throwable {
    float[] values = {0, -0f, 1, -2, 1.00390625f, 1.01171875f, 65_519, 1e-7f, 1e6f, 3e38f};
    Path ofArray = dir.resolve("array.safetensors");
    new SafetensorsWriter().add("t", type, new long[] {2, 5}, values).write(ofArray);
    Path ofTensor = dir.resolve("tensor.safetensors");
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope()) {
            write(ofTensor, Tensors.ofFloats(values, 2, 5), type);
          }
        });
    assertThat(ofTensor).hasSameBinaryContentAs(ofArray);
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "F16", "BF16"})
  void aTensorOfTheStoredTypeStaysAsItIs(StorageType type) {
    float[] values = {1.5f, -0.25f, Float.POSITIVE_INFINITY, 3};
    try (TensorScope scope = new TensorScope()) {
      Path file = dir.resolve("t.safetensors");
      write(file, Tensors.ofFloats(values, 4).to(StoredTensors.scalarType(type)), type);
      assertThat(SafetensorsFile.open(file).entry("t").readFloats()).isEqualTo(values);
    }
  }

  @Test
  void aWideTypeIsNarrowed() {
    try (TensorScope scope = new TensorScope()) {
      Path file = dir.resolve("t.safetensors");
      Tensor doubles = Tensors.ofFloats(new float[] {1, 2.5f, -3}, 3).to(ScalarType.Double);
      write(file, doubles, StorageType.F32);
      assertThat(SafetensorsFile.open(file).entry("t").readFloats()).containsExactly(1, 2.5f, -3);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 700, 3000})
  void manyPiecesOfATransposedMatrix(int rows) {
    int columns = 1024;
    float[] values = random(rows * columns);
    float[] transposed = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      transposed[i % columns * rows + i / columns] = values[i];
    }
    try (TensorScope scope = new TensorScope()) {
      Path file = dir.resolve("t.safetensors");
      Tensor matrix = Tensors.ofFloats(values, rows, columns);
      write(file, matrix, StorageType.F32);
      assertThat(SafetensorsFile.open(file).entry("t").readFloats()).isEqualTo(values);
      write(file, matrix.t(), StorageType.F32);
      assertThat(SafetensorsFile.open(file).entry("t").readFloats()).isEqualTo(transposed);
    }
  }

  @Test
  void aPartOfAnotherTensor() {
    try (TensorScope scope = new TensorScope()) {
      Path file = dir.resolve("t.safetensors");
      Tensor matrix = Tensors.ofFloats(new float[] {0, 1, 2, 3, 4, 5}, 3, 2);
      write(file, matrix.narrow(0, 1, 2), StorageType.F32);
      assertThat(SafetensorsFile.open(file).entry("t").readFloats()).containsExactly(2, 3, 4, 5);
      write(file, matrix.narrow(1, 1, 1), StorageType.F32);
      assertThat(SafetensorsFile.open(file).entry("t").readFloats()).containsExactly(1, 3, 5);
    }
  }

  @Test
  void scalarsAndTensorsWithoutElements() {
    try (TensorScope scope = new TensorScope()) {
      Path file = dir.resolve("t.safetensors");
      Tensor one = Tensors.ofFloats(new float[] {7}, 1);
      write(file, one.view(new long[0]), StorageType.F32);
      assertThat(SafetensorsFile.open(file).entry("t").shape()).isEmpty();
      assertThat(SafetensorsFile.open(file).entry("t").readFloats()).containsExactly(7);
      write(file, Tensors.ofFloats(new float[0], 3, 0), StorageType.BF16);
      assertThat(SafetensorsFile.open(file).entry("t").shape()).containsExactly(3, 0);
      write(file, Tensors.ofFloats(new float[0], 0, 3), StorageType.BF16);
      assertThat(SafetensorsFile.open(file).entry("t").readFloats()).isEmpty();
    }
  }

  @Test
  void aParameterIsWrittenWithoutBeingRecorded() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope()) {
            Path file = dir.resolve("t.safetensors");
            Tensor parameter = Tensors.ofFloats(new float[] {1, 2}, 2);
            parameter.set_requires_grad(true);
            write(file, parameter, StorageType.F16);
            assertThat(SafetensorsFile.open(file).entry("t").readFloats()).containsExactly(1, 2);
          }
        });
  }

  @Test
  void nothingStaysWhenTheChannelFails() throws Throwable {
    WritableByteChannel broken =
        new WritableByteChannel() {
          @Override
          public int write(ByteBuffer bytes) throws IOException {
            throw new IOException("no space left");
          }

          @Override
          public boolean isOpen() {
            return true;
          }

          @Override
          public void close() {}
        };
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope()) {
            SafetensorsWriter.Content content =
                StoredTensors.content(Tensors.ofFloats(new float[] {1}, 1), StorageType.F16);
            assertThatThrownBy(() -> content.writeTo(broken)).hasMessage("no space left");
          }
        });
  }

  @Test
  void otherTypesAreRefused() {
    try (TensorScope scope = new TensorScope()) {
      Tensor tensor = Tensors.ofFloats(new float[] {1}, 1);
      assertThatThrownBy(() -> StoredTensors.content(tensor, StorageType.I64))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("I64");
    }
  }

  private static void write(Path file, Tensor tensor, StorageType type) {
    new SafetensorsWriter()
        .add("t", type, tensor.shape(), StoredTensors.content(tensor, type))
        .write(file);
  }

  private static float[] random(int count) {
    Random random = new Random(count);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = random.nextFloat();
    }
    return values;
  }
}
