package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {
  @TempDir Path dir;
  private Path file;

  @BeforeEach
  void name() {
    file = dir.resolve("model.safetensors");
  }

  private Stream<String> names() throws IOException {
    try (Stream<Path> files = Files.list(dir)) {
      return files.map(path -> path.getFileName().toString()).toList().stream();
    }
  }

  @Test
  void alignsHeaderAndTensors() throws IOException {
    new SafetensorsWriter()
        .add("odd", StorageType.BF16, new long[] {3}, new float[] {1, 2, 3})
        .add("bytes", StorageType.U8, new long[] {5}, out -> out.write(ByteBuffer.allocate(5)))
        .add("wide", StorageType.F32, new long[] {1}, new float[] {4})
        .add("second", StorageType.F16, new long[] {1, 1}, new float[] {5})
        .write(file);
    byte[] bytes = Files.readAllBytes(file);
    long header = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
    assertThat(header % 8).isZero();
    SafetensorsFile read = SafetensorsFile.open(file);
    assertThat(read.entries().keySet()).containsExactly("wide", "odd", "second", "bytes");
    assertThat(read.entries().values())
        .allSatisfy(entry -> assertThat(entry.offset() % entry.type().bytes()).isZero());
    assertThat(read.entry("odd").readFloats()).containsExactly(1, 2, 3);
    assertThat(read.entry("wide").readFloats()).containsExactly(4);
    assertThat(read.entry("second").readFloats()).containsExactly(5);
  }

  @Test
  void carriesMetadataThatTransformersAsksFor() {
    new SafetensorsWriter().metadata("made by", "a \"test\"\n").write(file);
    assertThat(SafetensorsFile.open(file).metadata())
        .containsEntry("format", "pt")
        .containsEntry("made by", "a \"test\"\n");
  }

  @Test
  void writesTensorsLargerThanItsBuffer() {
    float[] values = Checkpoints.random(new long[] {700_001}, 1);
    new SafetensorsWriter().add("x", StorageType.F32, new long[] {700_001}, values).write(file);
    assertThat(SafetensorsFile.open(file).entry("x").readFloats()).isEqualTo(values);
  }

  @Test
  void takesContentInPieces() {
    new SafetensorsWriter()
        .add(
            "x",
            StorageType.U8,
            new long[] {4},
            out -> {
              out.write(ByteBuffer.wrap(new byte[] {1, 2, 3}));
              out.write(ByteBuffer.wrap(new byte[0]));
              out.write(ByteBuffer.wrap(new byte[] {4}));
            })
        .write(file);
    assertThat(SafetensorsFile.open(file).entry("x").length()).isEqualTo(4);
  }

  @Test
  void aFailureLeavesTheOldFileAndNothingBeside() throws IOException {
    Files.writeString(file, "old");
    SafetensorsWriter failing =
        new SafetensorsWriter()
            .add(
                "x",
                StorageType.U8,
                new long[] {4},
                out -> {
                  out.write(ByteBuffer.allocate(2));
                  throw new IOException("disk full");
                });
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> failing.write(file))
        .withMessage(file + ": cannot be written: disk full");
    assertThat(file).hasContent("old");
    assertThat(names()).containsExactly("model.safetensors");
  }

  @Test
  void refusesContentOfAnotherLength() throws IOException {
    for (int length : new int[] {3, 5}) {
      SafetensorsWriter writer =
          new SafetensorsWriter()
              .add(
                  "x",
                  StorageType.U8,
                  new long[] {4},
                  out -> out.write(ByteBuffer.allocate(length)));
      assertThatExceptionOfType(IllegalStateException.class)
          .isThrownBy(() -> writer.write(file))
          .withMessageContaining("the content of tensor 'x' has")
          .withMessageContaining("its shape needs 4");
    }
    assertThat(names()).isEmpty();
  }

  @Test
  void replacesTheFileWhole() {
    for (float value : new float[] {1, 2}) {
      new SafetensorsWriter()
          .add("x", StorageType.F32, new long[] {1}, new float[] {value})
          .write(file);
    }
    assertThat(SafetensorsFile.open(file).entry("x").readFloats()).containsExactly(2);
  }

  @Test
  void theFileIsReadableLikeAnyOther() throws IOException {
    Path ordinary = Files.writeString(dir.resolve("ordinary"), "");
    new SafetensorsWriter().write(file);
    if (ordinary.getFileSystem().supportedFileAttributeViews().contains("posix")) {
      assertThat(Files.getPosixFilePermissions(file))
          .isEqualTo(Files.getPosixFilePermissions(ordinary));
    }
  }

  @Test
  void namesAMissingFolder() {
    Path nowhere = dir.resolve("nix").resolve("x.safetensors");
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> new SafetensorsWriter().write(nowhere))
        .withMessage(nowhere + ": cannot be written: no such file");
  }

  @Test
  void refusesBadDeclarations() {
    SafetensorsWriter writer =
        new SafetensorsWriter().add("x", StorageType.F32, new long[] {1}, new float[1]);
    assertThatExceptionOfType(IllegalArgumentException.class)
        .isThrownBy(() -> writer.add("x", StorageType.F32, new long[] {1}, new float[1]))
        .withMessage("tensor 'x' is already there");
    assertThatExceptionOfType(IllegalArgumentException.class)
        .isThrownBy(() -> writer.add("y", StorageType.F32, new long[] {2}, new float[1]))
        .withMessage("tensor 'y' has 1 values; its shape needs 2");
    assertThatExceptionOfType(IllegalArgumentException.class)
        .isThrownBy(() -> writer.add("y", StorageType.I64, new long[] {1}, new float[1]))
        .withMessageContaining("not as I64");
    assertThatExceptionOfType(IllegalArgumentException.class)
        .isThrownBy(() -> writer.add("y", StorageType.F32, new long[] {-1}, new float[1]))
        .withMessageContaining("negative");
    assertThatExceptionOfType(IllegalArgumentException.class)
        .isThrownBy(() -> writer.add("__metadata__", StorageType.F32, new long[0], new float[1]))
        .withMessageContaining("reserved");
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> writer.write(Path.of("/")))
        .withMessage("/: cannot be written: it is a directory");
  }
}
