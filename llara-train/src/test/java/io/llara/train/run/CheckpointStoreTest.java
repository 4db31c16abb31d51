package io.llara.train.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.common.hash.Hashing;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.StrictJson;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Directories;
import io.llara.testing.Leaks;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class CheckpointStoreTest {
  @TempDir Path out;

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  @Test
  void holdsStateAndTensors() throws Throwable {
    CheckpointStore store = new CheckpointStore(out, 2);
    assertThat(store.newest()).isEmpty();
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("recipe", "released");
    settings.put("a \"quoted\" <name>", "ü\n");
    TrainingState state = new TrainingState(120, 1920, settings, "0.1.0");
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope()) {
            Map<String, Tensor> tensors = new LinkedHashMap<>();
            tensors.put("layers.0.weight", Tensors.ofFloats(new float[] {1, -0f, 3}, 3, 1));
            tensors.put(
                "exp_avg/layers.0.weight",
                Tensors.ofFloats(new float[] {Float.MIN_VALUE}).requires_grad_(true));
            assertThat(store.save(state, tensors))
                .isEqualTo(out.resolve("checkpoints/step-00000120"));
          }
          CheckpointStore.Saved saved = store.newest().orElseThrow();
          assertThat(saved.state()).isEqualTo(state);
          assertThat(saved.state().settings()).containsExactlyEntriesOf(settings);
          assertThat(saved.skipped()).isEmpty();
          assertThat(saved.names())
              .containsExactlyInAnyOrder("layers.0.weight", "exp_avg/layers.0.weight");
          try (Tensor weight = saved.load("layers.0.weight")) {
            assertThat(Tensors.toFloats(weight)).containsExactly(1, -0f, 3);
            assertThat(weight.size(0)).isEqualTo(3);
          }
          try (Tensor moment = saved.load("exp_avg/layers.0.weight")) {
            assertThat(Tensors.toFloats(moment)).containsExactly(Float.MIN_VALUE);
          }
          assertThatThrownBy(() -> saved.load("none")).isInstanceOf(LlaraException.class);
        });
  }

  @Test
  void keepsTheLast() {
    CheckpointStore store = new CheckpointStore(out, 2);
    for (long step : new long[] {5, 10, 15, 100_000_000, 1_000_000_000}) {
      save(store, step);
    }
    assertThat(entries()).containsExactly("step-100000000", "step-1000000000");
    assertThat(store.newest().orElseThrow().state().step()).isEqualTo(1_000_000_000);
    save(new CheckpointStore(out, 1), 1_000_000_001);
    assertThat(entries()).containsExactly("step-1000000001");
    assertThatIllegalArgumentException().isThrownBy(() -> new CheckpointStore(out, 0));
  }

  @Test
  void whatAKilledProcessLeftIsNotSeenAndIsRemoved() throws IOException {
    CheckpointStore store = new CheckpointStore(out, 3);
    Path whole = save(store, 10);
    // Killed while writing, and while deleting an old one.
    Path half = out.resolve("checkpoints/.step-00000020.1x2y3z.tmp");
    Files.createDirectory(half);
    Files.write(half.resolve(".tensors.safetensors.abc.tmp"), new byte[100]);
    Path retired = out.resolve("checkpoints/.step-00000005.old.tmp");
    Files.createDirectory(retired);
    Files.copy(whole.resolve("state.json"), retired.resolve("state.json"));
    Files.writeString(out.resolve("checkpoints/notes.txt"), "mine");

    assertThat(store.newest().orElseThrow().dir()).isEqualTo(whole);
    save(store, 20);
    assertThat(entries()).containsExactly("notes.txt", "step-00000010", "step-00000020");
  }

  @Test
  void aMissingFileMeansThePreviousOne() throws IOException {
    for (String file : List.of("tensors.safetensors", "state.json")) {
      Path run = out.resolve(file);
      CheckpointStore store = new CheckpointStore(run, 3);
      save(store, 10);
      Path damaged = save(store, 20);
      Files.delete(damaged.resolve(file));
      assertFallsBack(store, damaged.resolve(file) + ": ", "no such file");
    }
  }

  @Test
  void anyFlippedBitMeansThePreviousOne() throws IOException {
    CheckpointStore store = new CheckpointStore(out, 3);
    save(store, 10);
    Path damaged = save(store, 20);
    Random random = new Random(5);
    for (String name : List.of("tensors.safetensors", "state.json")) {
      Path file = damaged.resolve(name);
      byte[] good = Files.readAllBytes(file);
      for (int i = 0; i < 60; i++) {
        byte[] bad = good.clone();
        int at = random.nextInt(bad.length);
        bad[at] ^= (byte) (1 << random.nextInt(8));
        Files.write(file, bad);
        CheckpointStore.Saved saved = store.newest().orElseThrow();
        // White space between members may turn into other white space: nothing is lost then.
        if (saved.state().step() == 20) {
          assertThat(Character.isWhitespace(good[at])).as("byte %d of %s", at, name).isTrue();
        } else {
          assertThat(saved.skipped()).singleElement().asString().contains(damaged.toString());
        }
      }
      Files.write(file, good);
    }
    assertThat(store.newest().orElseThrow().state().step()).isEqualTo(20);
  }

  @Test
  void tornFilesMeanThePreviousOne() throws IOException {
    CheckpointStore store = new CheckpointStore(out, 3);
    save(store, 10);
    Path damaged = save(store, 20);
    Path state = damaged.resolve("state.json");
    byte[] good = Files.readAllBytes(state);
    for (int length : new int[] {0, 1, good.length / 2, good.length - 3}) {
      Files.write(state, Arrays.copyOf(good, length));
      assertFallsBack(store, state + ": is not valid JSON");
    }
    Files.write(state, new byte[good.length]);
    assertFallsBack(store, state + ": is not valid JSON");
    Files.write(state, good);
    Path tensors = damaged.resolve("tensors.safetensors");
    byte[] bytes = Files.readAllBytes(tensors);
    Files.write(tensors, Arrays.copyOf(bytes, bytes.length - 1));
    assertFallsBack(
        store,
        "%s: has %d bytes; %d were written".formatted(tensors, bytes.length - 1, bytes.length));
  }

  @Test
  void aDirectoryOfAnotherStepMeansThePreviousOne() throws IOException {
    CheckpointStore store = new CheckpointStore(out, 3);
    Path first = save(store, 10);
    Path renamed = out.resolve("checkpoints/step-00000030");
    Directories.copy(first, renamed);
    assertFallsBack(
        store,
        renamed.resolve("state.json") + ": is of step 10; the name of its directory says 30");
  }

  @Test
  void nothingWholeIsNothing() throws IOException {
    CheckpointStore store = new CheckpointStore(out, 3);
    Files.delete(save(store, 10).resolve("state.json"));
    assertThat(store.newest()).isEmpty();
  }

  @Test
  void aNewerFormIsNotTakenForDamage() throws IOException {
    CheckpointStore store = new CheckpointStore(out, 3);
    save(store, 10);
    Path state = save(store, 20).resolve("state.json");
    JsonObject json = StrictJson.file(state).json();
    json.remove("checksum");
    json.addProperty("formatVersion", 2);
    json.addProperty(
        "checksum",
        Hashing.sha256().hashString(StrictJson.compact(json), StandardCharsets.UTF_8).toString());
    AtomicFiles.writeJson(state, json);
    assertThatThrownBy(store::newest)
        .isInstanceOf(LlaraException.class)
        .hasMessage(
            state
                + ": key 'formatVersion' is 2, which is not supported; supported: up to 1; a newer"
                + " release of this library reads it");
  }

  @Test
  void afterGoingBackWhatClaimsToBeLaterGoes() throws IOException {
    CheckpointStore store = new CheckpointStore(out, 3);
    save(store, 10);
    Files.delete(save(store, 20).resolve("state.json"));
    Files.delete(save(store, 30).resolve("state.json"));
    assertThat(store.newest().orElseThrow().skipped()).hasSize(2);
    // Saved again under a name that a damaged one has.
    save(store, 20);
    assertThat(entries()).containsExactly("step-00000010", "step-00000020");
    assertThat(store.newest().orElseThrow().skipped()).isEmpty();
    assertThat(store.newest().orElseThrow().state().step()).isEqualTo(20);
  }

  @Test
  void onlyFloatsAreSaved() {
    CheckpointStore store = new CheckpointStore(out, 1);
    try (TensorScope scope = new TensorScope()) {
      Tensor half = Tensors.ofFloats(new float[] {1}, 1).to(ScalarType.BFloat16);
      assertThatIllegalArgumentException()
          .isThrownBy(() -> store.save(state(1), Map.of("w", half)))
          .withMessage("tensor w is BFloat16; a checkpoint holds Float");
    }
    assertThat(out.resolve("checkpoints")).doesNotExist();
  }

  /**
   * The system refuses the write in the middle of the file: a child process may not write files
   * beyond a size. That needs no rights, unlike a small file system to fill.
   */
  @Test
  @EnabledOnOs(OS.LINUX)
  void aWriteThatFailsLeavesTheOldOnesAndNoDebris() throws Exception {
    CheckpointStore store = new CheckpointStore(out, 1);
    save(store, 10);
    String command = "ulimit -f 200 && exec \"$0\" -XX:-UsePerfData -cp \"$1\" \"$2\" \"$3\"";
    Process process =
        new ProcessBuilder(
                "sh",
                "-c",
                command,
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                SaveMuch.class.getName(),
                out.toString())
            .redirectErrorStream(true)
            .redirectOutput(out.resolve("child.txt").toFile())
            .start();
    try {
      assertThat(process.waitFor(120, TimeUnit.SECONDS)).isTrue();
    } finally {
      process.destroyForcibly().waitFor();
    }
    assertThat(Files.readString(out.resolve("child.txt"))).contains("refused: LlaraException");
    assertThat(process.exitValue()).isZero();
    assertThat(entries()).containsExactly("step-00000010");
    assertThat(store.newest().orElseThrow().skipped()).isEmpty();
  }

  /** A file system that is full, for machines where the test may mount one. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void aFullDiskLeavesTheOldOnesAndNoDebris() throws Exception {
    Path mount = Files.createDirectory(out.resolve("small"));
    assumeTrue(
        exec("mount", "-t", "tmpfs", "-o", "size=1m", "llara-test", mount.toString()) == 0,
        "needs the right to mount a file system");
    try {
      CheckpointStore store = new CheckpointStore(mount, 1);
      save(store, 10);
      try (TensorScope scope = new TensorScope()) {
        Map<String, Tensor> large = Map.of("w", Tensors.ofFloats(new float[300_000], 300_000));
        assertThatThrownBy(() -> store.save(state(20), large))
            .isInstanceOf(LlaraException.class)
            .hasMessageContaining("step-00000020")
            .hasMessageContaining("No space left on device");
        // The name of an old one is no reason to lose it.
        assertThatThrownBy(() -> store.save(state(10), large)).isInstanceOf(LlaraException.class);
      }
      assertThat(mount.resolve("checkpoints").toFile().list()).containsExactly("step-00000010");
      assertThat(store.newest().orElseThrow().skipped()).isEmpty();
      save(store, 20);
      assertThat(store.newest().orElseThrow().state().step()).isEqualTo(20);
    } finally {
      exec("umount", mount.toString());
    }
  }

  /** Saves a checkpoint of 4 MB and says how that went. */
  static final class SaveMuch {
    public static void main(String[] arguments) {
      Libtorch.load();
      CheckpointStore store = new CheckpointStore(Path.of(arguments[0]), 1);
      try (TensorScope scope = new TensorScope()) {
        store.save(state(20), Map.of("w", Tensors.ofFloats(new float[1 << 20], 1 << 20)));
        System.out.println("saved");
      } catch (LlaraException e) {
        System.out.println("refused: LlaraException " + e.getMessage());
      }
    }
  }

  private static int exec(String... command) throws IOException, InterruptedException {
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .start()
        .waitFor();
  }

  private static void assertFallsBack(CheckpointStore store, String... reason) {
    CheckpointStore.Saved saved = store.newest().orElseThrow();
    assertThat(saved.state().step()).isEqualTo(10);
    assertThat(saved.skipped()).singleElement().asString().contains(reason);
  }

  private static TrainingState state(long step) {
    return new TrainingState(step, step * 16, Map.of("batch", "16"), "test");
  }

  private static Path save(CheckpointStore store, long step) {
    try (TensorScope scope = new TensorScope()) {
      return store.save(
          state(step), Map.of("w", Tensors.ofFloats(new float[] {step, 2, 3, 4}, 2, 2)));
    }
  }

  private List<String> entries() {
    String[] names = out.resolve("checkpoints").toFile().list();
    assertThat(names).isNotNull();
    return Arrays.stream(names)
        .sorted(Comparator.comparingInt(String::length).thenComparing(name -> name))
        .toList();
  }
}
