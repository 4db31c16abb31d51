package io.llara.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.testing.ChildJvm;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TemporaryPathTest {
  @TempDir Path dir;

  private List<Path> entries() throws IOException {
    try (Stream<Path> entries = Files.list(dir)) {
      return entries.toList();
    }
  }

  @Test
  void deletesWhatIsInItWhenClosed() throws IOException {
    TemporaryPath folder = TemporaryPath.folder("llara-test");
    Files.writeString(Files.createDirectory(folder.path().resolve("a")).resolve("b"), "text");
    folder.close();
    folder.close();
    assertThat(folder.path()).doesNotExist();

    try (TemporaryPath file = TemporaryPath.file("llara-test")) {
      assertThat(file.path()).isEmptyFile();
    }
  }

  @Test
  void takesThePlaceOfItsTargetOrLeavesItAlone() throws IOException {
    Path target = Files.writeString(dir.resolve("target"), "old");
    try (TemporaryPath aside = TemporaryPath.beside(target)) {
      Files.writeString(aside.path(), "unfinished");
    }
    assertThat(target).hasContent("old");
    try (TemporaryPath aside = TemporaryPath.beside(target)) {
      Files.writeString(aside.path(), "new");
      aside.moveTo(target);
    }
    assertThat(target).hasContent("new");
    assertThat(entries()).containsExactly(target);
    assertThatThrownBy(() -> TemporaryPath.beside(dir.getRoot()))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aWriterThatFailsLeavesTheOldFileAlone() throws IOException {
    Path target = Files.writeString(dir.resolve("target"), "old");
    assertThatThrownBy(
            () ->
                AtomicFiles.writeText(
                    target,
                    text -> {
                      text.write("new");
                      text.flush();
                      throw new IOException("no space");
                    }))
        .isInstanceOf(LlaraException.class)
        .hasMessage(target + ": cannot be written: no space");
    assertThat(target).hasContent("old");
    assertThat(entries()).containsExactly(target);
  }

  @Test
  void deletesWhatIsOpenWhenTheJvmEnds() throws Exception {
    ChildJvm.run(List.of(), Leaving.class, dir.toString());
    assertThat(entries()).isEmpty();
  }

  @Test
  void deletesWhatAKilledProcessLeftButNothingOfALivingOne() throws Exception {
    List<String> here = List.of("-Djava.io.tmpdir=" + dir);
    ChildJvm.run(here, Killed.class);
    assertThat(entries()).hasSize(3);
    Path lock = Files.createFile(dir.resolve("llara-living.lock"));
    Path living = Files.createFile(dir.resolve("llara-test-living-1.tmp"));
    Path foreign = Files.createFile(dir.resolve("other-test-living-1.tmp"));
    try (FileChannel channel = FileChannel.open(lock, StandardOpenOption.WRITE)) {
      assertThat(channel.tryLock()).isNotNull();
      ChildJvm.run(here, Next.class);
      assertThat(entries()).containsExactlyInAnyOrder(lock, living, foreign);
    }
    ChildJvm.run(here, Next.class);
    assertThat(entries()).containsExactly(foreign);
  }

  /** Ends without shutdown hooks, as by kill -9. */
  static final class Killed {
    private Killed() {}

    public static void main(String[] args) throws IOException {
      TemporaryPath.file("llara-test");
      Files.writeString(TemporaryPath.folder("llara-test").path().resolve("in it"), "text");
      Runtime.getRuntime().halt(0);
    }
  }

  /** Makes a temporary file. */
  static final class Next {
    private Next() {}

    public static void main(String[] args) {
      TemporaryPath.file("llara-test");
    }
  }

  /** A training run that is stopped saves a checkpoint then. */
  @Test
  void leavesAWriterAloneThatAShutdownHookWaitsFor() throws Exception {
    ChildJvm.run(List.of(), LateWriter.class, dir.toString(), "before");
    assertThat(entries()).containsExactly(dir.resolve("target"));
  }

  @Test
  void worksIfFirstUsedWhileTheJvmEnds() throws Exception {
    ChildJvm.run(List.of(), LateWriter.class, dir.toString(), "while");
    assertThat(entries()).containsExactly(dir.resolve("target"));
  }

  /** Writes a file, from before or only while the JVM ends, until all hooks had time to run. */
  static final class LateWriter {
    private LateWriter() {}

    public static void main(String[] args) throws IOException {
      Path target = Path.of(args[0]).resolve("target");
      if (args[1].equals("before")) {
        TemporaryPath aside = TemporaryPath.beside(target);
        Files.writeString(aside.path(), "text");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> finish(aside, target)));
      } else {
        Runtime.getRuntime()
            .addShutdownHook(new Thread(() -> AtomicFiles.write(target, new byte[1])));
      }
      System.exit(0);
    }

    private static void finish(TemporaryPath aside, Path target) {
      try {
        Thread.sleep(500);
        aside.moveTo(target);
      } catch (IOException | InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  /** Ends with a temporary folder and an unfinished file open. */
  static final class Leaving {
    private Leaving() {}

    public static void main(String[] args) throws IOException {
      TemporaryPath aside = TemporaryPath.beside(Path.of(args[0]).resolve("target"));
      Files.createDirectory(aside.path());
      Files.writeString(aside.path().resolve("file"), "text");
      System.exit(0);
    }
  }
}
