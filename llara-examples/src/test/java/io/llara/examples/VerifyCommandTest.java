package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.kernels.FusedKernels;
import io.llara.testing.Directories;
import io.llara.testing.Stories;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("slow")
class VerifyCommandTest {
  private static final String ALL_PASS = "verified 89 cases, 0 failed, 0 not covered";

  @TempDir private Path folder;

  @Test
  void passesOnTheReference() {
    CommandRun run = CommandRun.of("verify", golden().toString());
    assertThat(run.out()).doesNotContain("FAIL");
    assertThat(last(run)).isEqualTo(ALL_PASS);
    assertThat(run.code()).isZero();
    assertThat(run.err()).isEmpty();
    assertThat(run.lines()).hasSize(89 + 1);
    assertThat(run.out()).doesNotContain(": not covered");
    assertThat(run.out()).containsPattern("encode.json llara-self-len5: pass .* abs \\S+ +rel ");
  }

  @Test
  void passesInBfloat16ByItsRule() {
    CommandRun run = CommandRun.of("verify", "--dtype", "bfloat16", golden().toString());
    assertThat(last(run)).isEqualTo(ALL_PASS);
    assertThat(run.code()).isZero();
    assertThat(run.out()).contains("not judged in bfloat16").contains("cosine 0.99");
    assertThat(run.lines())
        .filteredOn(line -> line.matches("(losses|trajectory|contrastive)\\.json.*|.*lora-contr.*"))
        .hasSize(12)
        .allMatch(line -> line.endsWith("; computed in float32)"));
  }

  @Test
  void passesInInt8ByItsRule() {
    assumeTrue(FusedKernels.instructions().isPresent(), "no kernels are compiled for this machine");
    CommandRun run = CommandRun.of("verify", "--dtype", "int8", golden().toString());
    assertThat(last(run)).isEqualTo(ALL_PASS);
    assertThat(run.code()).isZero();
    assertThat(run.out()).contains("not judged in int8").contains("cosine 0.99");
  }

  @Test
  void showsEveryQuantityWhenAsked() {
    CommandRun run = CommandRun.of("verify", "-v", golden().toString());
    assertThat(run.out())
        .contains("visibility", "position_ids", "next_columns", "inv_freq", "embedding_raw")
        .contains("output_predict_ids", "grad_rows/lm_head.weight", "step 12 global_grad_norm")
        .contains("final/model.norm.weight", "for 99.9 %")
        .contains("p_reps", "eval_scores", "passage input_ids", "step 5 loss")
        .contains("temperature 1.0, to which the reference resets 0.02");
  }

  @Test
  void failsWhereAWeightIsWrong() throws IOException {
    Path copy = copy();
    // The last weights of the file: bfloat16 numbers, of which the sign is turned.
    Path weights = copy.resolve("llama-mha/model.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    for (int i = 1; i < 200; i += 2) {
      bytes[bytes.length - i] ^= (byte) 0x80;
    }
    Files.write(weights, bytes);
    CommandRun run = CommandRun.of("verify", copy.toString());
    assertThat(run.code()).isEqualTo(1);
    assertThat(run.out()).contains(": FAIL");
    assertThat(last(run)).matches("verified 89 cases, [1-9]\\d* failed, 0 not covered");
  }

  @Test
  void failsWhereOnlyTheMaskDiffers() throws IOException {
    Path copy = copy();
    Path file = copy.resolve("encode.json");
    String json = Files.readString(file);
    // The first token of the first case sees the second one.
    String changed = json.replaceFirst("(?<before>\"visibility\":[\\s\\[]*\")10", "${before}11");
    assertThat(changed.equals(json)).isFalse();
    Files.writeString(file, changed);
    CommandRun run = CommandRun.of("verify", copy.toString());
    assertThat(run.code()).isEqualTo(1);
    assertThat(run.out()).contains("FAIL  visibility");
  }

  @Test
  void missingKindsAreAbsentAndUnknownOnesNotCovered() throws IOException {
    Path copy = copy();
    for (String name : List.of("encode", "losses", "trajectory", "contrastive", "lora")) {
      Files.delete(copy.resolve(name + ".json"));
    }
    Files.writeString(
        copy.resolve("dance.json"),
        "{\"schema\": \"llara-golden-1\", \"cases\": [{\"name\": \"x\"}]}");
    Files.writeString(copy.resolve("other.json"), "{}");
    CommandRun run = CommandRun.of("verify", copy.toString());
    assertThat(run.code()).isZero();
    assertThat(run.out()).contains("dance.json x: not covered");
    assertThat(last(run)).isEqualTo("verified 8 cases, 0 failed, 1 not covered");
  }

  @Test
  void refusesWhatIsNotOfTheSchema() throws IOException {
    LlaraTest.assertRefused(CommandRun.of("verify", folder.toString()), "llara-golden-1");
    LlaraTest.assertRefused(CommandRun.of("verify", "nowhere"), "nowhere");
    Files.writeString(folder.resolve("encode.json"), "{\"schema\": \"llara-golden-2\"}");
    LlaraTest.assertRefused(CommandRun.of("verify", folder.toString()), "llara-golden-2");
    Files.writeString(folder.resolve("encode.json"), "{\"schema\": \"llara-golden-1\"}");
    LlaraTest.assertRefused(CommandRun.of("verify", folder.toString()), "tensor_file_f64");
    Files.writeString(folder.resolve("encode.json"), "{\"schema\":");
    LlaraTest.assertRefused(CommandRun.of("verify", folder.toString()), "encode.json");
    LlaraTest.assertRefused(CommandRun.of("verify", "--dtype=auto", folder.toString()), "auto");
    LlaraTest.assertRefused(CommandRun.of("verify", "--dtype=int4", folder.toString()), "int4");
  }

  @Test
  void refusesAFolderWithoutItsCheckpoint() throws IOException {
    Path copy = copy();
    Files.delete(copy.resolve("llama-gqa/config.json"));
    CommandRun run = CommandRun.of("verify", copy.toString());
    assertThat(run.code()).isEqualTo(2);
    assertThat(run.err().lines()).hasSize(1);
    assertThat(run.err()).contains("config.json");
  }

  /**
   * Made by benchmarks/scripts/golden.py: {@code golden.py MODEL OUT "Lily ran." "a naïve 日本 cat"}.
   */
  @Test
  void passesOnACheckpointOfOnesOwn() throws IOException {
    Path golden = Directories.copy(Path.of("src/test/resources/golden-stories"), folder);
    Directories.copy(Stories.dir(), folder.resolve("checkpoint"));
    CommandRun run = CommandRun.of("verify", "-v", golden.toString());
    assertThat(run.err()).isEmpty();
    assertThat(run.code()).isZero();
    assertThat(last(run)).isEqualTo("verified 12 cases, 0 failed, 0 not covered");
    assertThat(run.out())
        .contains("texts", "visibility", "next_embedding_raw", "last_logits", "joint-batch: pass");

    Path json = folder.resolve("encode.json");
    String right = Files.readString(json);
    Files.writeString(
        json, right.replace("\"texts\": [\"Lily ran.\"]", "\"texts\": [\"Lily run.\"]"));
    CommandRun wrong = CommandRun.of("verify", folder.toString());
    assertThat(wrong.out()).contains("plain-text0: FAIL  texts  (not equal)");
    assertThat(last(wrong)).isEqualTo("verified 12 cases, 4 failed, 0 not covered");
    assertThat(wrong.code()).isEqualTo(1);

    Files.writeString(json, right.replace("\"checkpoint\": \"", "\"checkpoint\": \"../"));
    LlaraTest.assertRefused(
        CommandRun.of("verify", folder.toString()),
        "the checkpoint '../checkpoint' is not in the folder");
    Files.writeString(json, right.replace("\"llara-paper\"", "\"other\""));
    CommandRun other = CommandRun.of("verify", folder.toString());
    assertThat(other.err()).contains("template is 'other'; known are llama2vec");
    assertThat(other.code()).isEqualTo(2);
  }

  /** On the processor: with {@code kernels.cu} compiled for it, and with libtorch's operators. */
  @ParameterizedTest
  @ValueSource(strings = {"shim", "neutral"})
  void passesByTheKernelsForGpus(String device) throws IOException {
    Path golden = Directories.copy(Path.of("src/test/resources/golden-stories"), folder);
    Directories.copy(Stories.dir(), folder.resolve("checkpoint"));
    CommandRun run = CommandRun.of("verify", "--device", device, golden.toString());
    assumeTrue(!run.err().contains("has no kernels.cu"), "this build has none for the processor");
    assertThat(run.err()).isEmpty();
    assertThat(last(run)).isEqualTo("verified 12 cases, 0 failed, 0 not covered");
  }

  static String last(CommandRun run) {
    return run.lines().get(run.lines().size() - 1);
  }

  static Path golden() {
    String property = System.getProperty("llara.shared", "");
    Path shared =
        Stream.of(property, "../../shared", "../shared")
            .filter(name -> !name.isBlank())
            .map(Path::of)
            .filter(Files::isDirectory)
            .findFirst()
            .orElse(Path.of("../../shared"));
    Path golden = shared.resolve("golden");
    assumeTrue(Files.isDirectory(golden), "needs the shared test data: " + golden);
    return golden;
  }

  private Path copy() throws IOException {
    return copy(folder.resolve("golden"), "");
  }

  /** Copies the files of the golden folder whose paths in it begin so, with their folders. */
  static Path copy(Path copy, String... beginnings) throws IOException {
    Path golden = golden();
    try (Stream<Path> files = Files.walk(golden)) {
      for (Path file : files.toList()) {
        String name = golden.relativize(file).toString();
        if (!name.isEmpty() && Stream.of(beginnings).noneMatch(name::startsWith)) {
          continue;
        }
        Path target = copy.resolve(name);
        if (Files.isDirectory(file)) {
          Files.createDirectories(target);
        } else {
          // Not Files.copy: the originals may be read-only.
          Files.write(target, Files.readAllBytes(file));
        }
      }
    }
    return copy;
  }
}
