package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import io.llara.testing.Stories;
import io.llara.train.lora.LoraOptions;
import io.llara.train.preset.Preset;
import io.llara.train.pretrain.Pretrainer;
import io.llara.train.pretrain.Recipe;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Tag("slow")
class PretrainCommandTest {
  @TempDir private static Path shared;

  private static Path base;
  private static Path marked;
  private static Path data;

  @TempDir private Path dir;

  @BeforeAll
  static void prepare() throws IOException {
    base = Stories.dir();
    marked = shared.resolve("marked");
    CommandRun run =
        CommandRun.of("add-markers", "--model", base.toString(), "--out", marked.toString());
    assertThat(run.code()).isZero();
    assertThat(run.out()).contains("16 tokens added: <s1> <s2>").contains("<s16>");
    data = shared.resolve("corpus.jsonl");
    try (InputStream in = Demo.class.getResourceAsStream("demo/corpus.jsonl")) {
      Files.copy(in, data);
    }
  }

  /** Settings under which a step takes no time; the texts are two sentences long. */
  private static List<String> args(Path model, Path out, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "pretrain",
                "--model=" + model,
                "--data=" + data,
                "--out=" + out,
                "--passage-tokens=64",
                "--dtype=float32"));
    args.addAll(Arrays.asList(more));
    return args;
  }

  private static CommandRun pretrain(Path model, Path out, String... more) {
    return CommandRun.of(args(model, out, more).toArray(String[]::new));
  }

  private static List<JsonObject> metrics(Path out) throws IOException {
    return Files.readAllLines(out.resolve("metrics.jsonl")).stream()
        .map(line -> new Gson().fromJson(line, JsonObject.class))
        .toList();
  }

  private static void assertStepsEachOnce(Path out, long last) throws IOException {
    assertThat(metrics(out).stream().map(line -> line.get("step").getAsLong()))
        .containsExactlyElementsOf(LongStream.rangeClosed(1, last).boxed().toList());
  }

  @Test
  void aPresetIsWhatOptionsAreByDefault() throws IOException {
    Path out = dir.resolve("preset");
    CommandRun run =
        pretrain(
            marked, out, "--preset=llara", "--steps=5", "--batch=2", "--warmup=3", "--threads=1");
    assertThat(run.code()).as(run.err()).isZero();
    assertThat(Files.readString(out.resolve("run.json")))
        .contains(
            "\"train\": \"all parameters\"",
            "\"batch\": \"2\"",
            "\"max tokens\": \"128\"",
            "\"learning rate\": \"1.0E-5\"",
            "\"warm-up\": \"LOG\"");
    assertThat(metrics(out).stream().map(line -> line.get("learning_rate").getAsDouble()))
        .containsExactly(0.0, 0.0, 1e-5 * (Math.log(2) / Math.log(3)), 1e-5, 1e-5);

    LlaraTest.assertRefused(
        pretrain(marked, dir.resolve("no"), "--preset=llara", "--recipe=paper"),
        "--preset llara is for --recipe released");
    LlaraTest.assertRefused(
        pretrain(marked, dir.resolve("no"), "--warmup=3", "--warmup-ratio=0.1"),
        "--warmup and --warmup-ratio exclude each other");
    LlaraTest.assertRefused(
        pretrain(marked, dir.resolve("no"), "--template=mine"), "--template is mine; known are");
    Path own = Files.writeString(dir.resolve("llara.json"), "{\"formatVersion\": 1}");
    LlaraTest.assertRefused(
        pretrain(marked, dir.resolve("no"), "--template=" + own), own + ": key 'template'");
  }

  @Test
  void fromAConfigurationToEmbeddings() throws IOException {
    Path created = dir.resolve("new");
    CommandRun init =
        CommandRun.of(
            "init",
            "--config=" + base.resolve("config.json"),
            "--tokenizer=" + base,
            "--seed=7",
            "--out=" + created);
    assertThat(init.err()).isEmpty();
    assertThat(init.code()).isZero();
    assertThat(init.out())
        .isEqualTo(created + ": 5 layers, hidden 64, 512 tokens, 0.26 million parameters\n");

    Path trained = dir.resolve("base");
    CommandRun lm =
        pretrain(created, trained, "--recipe=lm", "--steps=4", "--batch=4", "--max-tokens=64");
    assertThat(lm.code()).isZero();
    assertThat(lm.out()).startsWith(trained + ": 4 steps, loss ").contains("ar_loss");
    // All parameters, without being asked for.
    assertThat(lm.err()).contains("0.26 million trainable parameters").contains("step 4/4: loss");
    assertThat(metrics(trained).get(0).get("self_loss").isJsonNull()).isTrue();

    Path grown = dir.resolve("grown");
    assertThat(
            CommandRun.of("add-markers", "--model=" + trained, "--out=" + grown, "--seed=7").code())
        .isZero();
    Path adapted = dir.resolve("adapted");
    CommandRun adapt = pretrain(grown, adapted, "--steps=3", "--batch=4", "--hold-out=0.1");
    assertThat(adapt.code()).isZero();
    assertThat(adapt.out()).contains("3 steps, loss ").contains("; held out: loss ");
    assertThat(adapt.err()).contains("held out, after step 0").contains("held out, after step 3");
    assertStepsEachOnce(adapted, 3);
    assertThat(Files.readAllBytes(adapted.resolve("loss.png"))).startsWith(0x89, 'P', 'N', 'G');
    assertThat(adapted.resolve("manifest.json")).exists();

    CommandRun encode =
        CommandRun.withInput("A llama.\n", "encode", "--model=" + adapted, "--mode=self", "-");
    assertThat(encode.code()).isZero();
    assertThat(new Gson().fromJson(encode.out(), float[].class)).hasSize(64);
  }

  @Test
  void aVocabularyIsCut() throws IOException {
    Path created = dir.resolve("new");
    CommandRun run =
        CommandRun.of(
            "init",
            "--config=" + base.resolve("config.json"),
            "--tokenizer=" + base,
            "--vocab=400",
            "--out=" + created);
    assertThat(run.code()).isZero();
    assertThat(run.out()).contains("400 tokens");
    assertThat(Files.readString(created.resolve("config.json"))).contains("\"vocab_size\": 400");
  }

  @Test
  void theSameCommandAgainDoesNothingAndOtherSettingsAreRefused() throws IOException {
    Path out = dir.resolve("out");
    assertThat(pretrain(marked, out, "--steps=2", "--batch=2", "--lora=4").code()).isZero();
    byte[] model = Files.readAllBytes(out.resolve("model.safetensors"));
    CommandRun again = pretrain(marked, out, "--steps=2", "--batch=2", "--lora=4");
    assertThat(again.code()).isZero();
    assertThat(again.out())
        .isEqualTo(out + ": was already complete after 2 steps; nothing was done\n");
    assertThat(again.err()).isEmpty();
    assertThat(Files.readAllBytes(out.resolve("model.safetensors"))).isEqualTo(model);
    // As after a stop while the losses were drawn.
    Files.delete(out.resolve("loss.png"));
    assertThat(pretrain(marked, out, "--steps=2", "--batch=2", "--lora=4").code()).isZero();
    assertThat(Files.readAllBytes(out.resolve("loss.png"))).startsWith(0x89, 'P', 'N', 'G');
    CommandRun other = pretrain(marked, out, "--steps=3", "--batch=4", "--lora=4");
    LlaraTest.assertRefused(other, "batch: was 2, now 4");
    LlaraTest.assertRefused(other, "steps: was 2, now 3");
    assertThat(other.err()).doesNotContain("seed");
  }

  @Test
  void itsDefaultsAreTheLibrarys() throws IOException {
    assertDefaults(marked, UnaryOperator.identity(), "1.0E-4");
    assertDefaults(marked, Pretrainer.Builder::fullParameters, "1.0E-5", "--full");
    assertDefaults(
        base, builder -> builder.recipe(Recipe.LM).fullParameters(), "5.0E-4", "--recipe=lm");
    assertThat(CommandRun.of("pretrain", "--help").out().replaceAll("\\s+", " "))
        .contains("1e-4 with LoRA, 1e-5 with --full, 5e-4 for recipe lm")
        .contains("(default: rank %d)".formatted(LoraOptions.DEFAULT.rank()))
        .contains("over the rank (default: %.0f)".formatted(LoraOptions.DEFAULT.alpha()))
        .contains(
            "LoRA's inputs (default: %.0f; llara: %s)"
                .formatted(LoraOptions.DEFAULT.dropout(), Preset.LLARA.lora().dropout()))
        .contains("over all processes (default: 16; llara: 8)")
        .contains("longer ones are truncated (default: 256; llara: 128)");
  }

  private void assertDefaults(
      Path model, UnaryOperator<Pretrainer.Builder> like, String rate, String... options)
      throws IOException {
    Path byLibrary = Files.createTempDirectory(dir, "library");
    Path byCommand = Files.createTempDirectory(dir, "command");
    like.apply(Pretrainer.builder(model, List.of(data), byLibrary).steps(1).passageTokens(64))
        .build()
        .run();
    List<String> args =
        new ArrayList<>(
            List.of(
                "pretrain",
                "--model=" + model,
                "--data=" + data,
                "--out=" + byCommand,
                "--steps=1",
                "--passage-tokens=64"));
    args.addAll(Arrays.asList(options));
    assertThat(CommandRun.of(args.toArray(String[]::new)).code()).isZero();
    String settings = Files.readString(byLibrary.resolve("run.json"));
    assertThat(Files.readString(byCommand.resolve("run.json"))).isEqualTo(settings);
    assertThat(settings).contains("\"learning rate\": \"%s\"".formatted(rate));
  }

  @Test
  void everySettingArrives() throws IOException {
    Path out = dir.resolve("out");
    Path stopWords = Files.writeString(dir.resolve("stop.txt"), "the\n");
    CommandRun run =
        pretrain(
            base,
            out,
            "--recipe=paper",
            "--loss-weights=0,2,3",
            "--lora=8",
            "--lora-alpha=32",
            "--lora-dropout=0.1",
            "--epochs=1",
            "--batch=20",
            "--micro-batches=2",
            "--lr=0.002",
            "--warmup=2",
            "--weight-decay=0.01",
            "--clip=0.5",
            "--max-tokens=128",
            "--stop-words=" + stopWords,
            "--skip-bad-lines",
            "--hold-out=0.2",
            "--evaluate-every=2",
            "--save-every=2",
            "--seed=3",
            "--threads=1",
            "--nproc=1",
            "--recompute",
            "--visible-self");
    assertThat(run.code()).isZero();
    assertThat(Files.readString(out.resolve("run.json")))
        .contains("\"recipe\": \"paper\"", "\"weights\": \"0.0 2.0 3.0\"")
        .contains("rank=8, alpha=32.0, dropout=0.1")
        .contains("\"batch\": \"20\"", "\"micro-batches\": \"2\"")
        .contains("\"learning rate\": \"0.002\"", "\"warm-up steps\": \"2\"")
        .contains("\"weight decay\": \"0.01\"", "\"clip\": \"0.5\"")
        .contains("\"max tokens\": \"128\"", "\"passage tokens\": \"64\"")
        .contains("\"bad lines\": \"SKIP\"", "\"held out\": \"0.2\"")
        .contains("\"seed\": \"3\"", "\"threads\": \"1\"")
        .contains("\"compute type\": \"FLOAT32\"", "\"visible self\": \"true\"");
    assertThat(run.err()).contains("held out, after step 2");
    assertThat(out.resolve("checkpoints").resolve("step-00000002")).isDirectory();
  }

  @Test
  void showsABarWhereItIsWanted() {
    CommandRun run = pretrain(marked, dir.resolve("out"), "--steps=2", "--batch=2", "--progress");
    assertThat(run.code()).isZero();
    assertThat(run.err()).contains("] 2/2 loss").contains(" tok/s 0:00 left");
  }

  @Test
  void curvesThatCannotBeDrawnAreNoError() throws IOException {
    Path out = dir.resolve("out");
    Files.createDirectories(out.resolve("loss.png").resolve("in-the-way"));
    CommandRun run = pretrain(marked, out, "--steps=2", "--batch=2");
    assertThat(run.code()).isZero();
    assertThat(run.err()).contains("llara: warning: the losses were not drawn: ");
    assertThat(out.resolve("model.safetensors")).exists();
  }

  @Test
  void aLossThatIsNoNumberFails() throws IOException {
    Path out = dir.resolve("out");
    CommandRun run =
        pretrain(
            marked, out, "--full", "--lr=1e30", "--clip=0", "--warmup=0", "--steps=5", "--batch=2");
    assertThat(run.code()).isEqualTo(1);
    List<String> lines = run.err().lines().toList();
    assertThat(lines.get(lines.size() - 1))
        .startsWith("llara pretrain: step ")
        .contains("the loss is not finite")
        .contains("corpus.jsonl:");
    assertThat(run.bytes()).isEmpty();
  }

  @Test
  void refusesBadInputInOneLine() throws IOException {
    Path out = dir.resolve("out");
    Path empty = Files.createFile(dir.resolve("empty.jsonl"));
    Path single = Files.writeString(dir.resolve("single.jsonl"), "{\"text\": \"One sentence.\"}\n");
    Path broken = Files.writeString(dir.resolve("broken.jsonl"), "{\"text\": \n");
    LlaraTest.assertRefused(
        CommandRun.of("pretrain", "--model=" + marked, "--data=" + empty, "--out=" + out),
        "empty.jsonl: no usable pair");
    LlaraTest.assertRefused(
        CommandRun.of("pretrain", "--model=" + marked, "--data=" + single, "--out=" + out),
        "single.jsonl: no usable pair in 1 line: 1 too short");
    LlaraTest.assertRefused(
        CommandRun.of("pretrain", "--model=" + marked, "--data=" + broken, "--out=" + out),
        "broken.jsonl:1: ");
    LlaraTest.assertRefused(
        CommandRun.of("pretrain", "--model=" + marked, "--data", "none.jsonl", "--out=" + out),
        "none.jsonl");
    LlaraTest.assertRefused(pretrain(base, out, "--steps=1"), "llara add-markers");
    LlaraTest.assertRefused(pretrain(marked, out, "--lr=NaN"), "learning rate is NaN");
    LlaraTest.assertRefused(pretrain(marked, out, "--lr=fast"), "--lr");
    LlaraTest.assertRefused(pretrain(marked, out, "--recipe=mine"), "--recipe");
    LlaraTest.assertRefused(pretrain(marked, out, "--batch=5", "--micro-batches=2"), "batch of 5");
    LlaraTest.assertRefused(pretrain(marked, out, "--lora=4", "--full"), "exclude each other");
    LlaraTest.assertRefused(pretrain(marked, out, "--steps=4", "--epochs=1"), "--epochs");
    LlaraTest.assertRefused(pretrain(marked, out, "--full", "--lora-alpha=1"), "--lora-alpha");
    LlaraTest.assertRefused(pretrain(marked, out, "--lora=0"), "rank");
    LlaraTest.assertRefused(pretrain(marked, out, "--loss-weights=1,2"), "three numbers");
    LlaraTest.assertRefused(pretrain(marked, out, "--loss-weights=1,2,-1"), "must be 0 or more");
    LlaraTest.assertRefused(pretrain(marked, out, "--nproc=0"), "--nproc is 0");
    LlaraTest.assertRefused(pretrain(marked, out, "--nproc=3"), "3 processes");
    LlaraTest.assertRefused(pretrain(marked, out, "--stop-words=none.txt"), "none.txt");
    assertThat(out).doesNotExist();
    LlaraTest.assertRefused(pretrain(marked, base, "--steps=1"), "use another directory");
    LlaraTest.assertRefused(
        CommandRun.of("add-markers", "--model=" + marked, "--out=" + out), "has all");
    LlaraTest.assertRefused(
        CommandRun.of("add-markers", "--model=" + base, "--out=" + base), "not empty");
    LlaraTest.assertRefused(
        CommandRun.of(
            "init", "--config=none.json", "--tokenizer=" + base, "--out=" + dir.resolve("new")),
        "none.json");
  }

  /** The launcher in a process of its own. */
  static ProcessBuilder process(List<String> args) {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx256m",
                "-cp",
                System.getProperty("java.class.path"),
                Llara.class.getName()));
    command.addAll(args);
    return new ProcessBuilder(command);
  }

  @Test
  @Timeout(180)
  void endedByASignalItGoesOnFromThere() throws Exception {
    Path out = dir.resolve("out");
    List<String> args = args(marked, out, "--steps=100000", "--batch=2", "--threads=1");
    long first = runUntilSignal(args, "step 1/100000");
    assertStepsEachOnce(out, first);
    long second = runUntilSignal(args, "step %d/100000".formatted(first + 1));
    assertThat(second).isGreaterThan(first);
    assertStepsEachOnce(out, second);
    assertThat(out.resolve("checkpoints").resolve("step-%08d".formatted(second))).isDirectory();
  }

  static long runUntilSignal(List<String> args, String sign) throws Exception {
    Process process = process(args).start();
    try (BufferedReader err = process.errorReader()) {
      String line = err.readLine();
      while (line != null && !line.contains(sign)) {
        line = err.readLine();
      }
      assertThat(line).isNotNull();
      // SIGTERM; the process's own method would close its streams, too.
      process.toHandle().destroy();
      String last = line;
      for (line = err.readLine(); line != null; line = err.readLine()) {
        last = line;
      }
      assertThat(process.waitFor()).isEqualTo(143);
      assertThat(last)
          .matches("llara: stopped after step \\d+; the same command resumes from there");
      return Long.parseLong(last.replaceAll("\\D+", " ").strip());
    } finally {
      process.destroyForcibly();
    }
  }

  @Test
  @Timeout(180)
  void twoProcessesTrainAsOne() throws Exception {
    Path alone = dir.resolve("alone");
    Path together = dir.resolve("together");
    String[] settings = {"--steps=3", "--batch=4", "--threads=1"};
    assertThat(pretrain(marked, alone, settings).code()).isZero();
    List<String> args = args(marked, together, settings);
    args.add("--nproc=2");
    Path log = dir.resolve("log.txt");
    Process process = process(args).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    try {
      assertThat(process.waitFor(150, TimeUnit.SECONDS)).isTrue();
    } finally {
      process.destroy();
    }
    assertThat(process.exitValue()).as(Files.readString(log)).isZero();
    assertThat(Files.readAllLines(log))
        .filteredOn(line -> line.contains("in each of 2 processes"))
        .hasSize(1);
    for (int i = 0; i < 3; i++) {
      assertThat(metrics(together).get(i).get("loss").getAsDouble())
          .isCloseTo(metrics(alone).get(i).get("loss").getAsDouble(), within(1e-5));
    }
  }

  @Test
  @Timeout(120)
  void aPlaceAmongProcessesComesFromTheEnvironment() throws Exception {
    assertThat(runWith("--nproc=2", "RANK=0", "WORLD_SIZE=1", "LOCAL_RANK=0", "MASTER_ADDR=::1"))
        .contains("MASTER_PORT");
    String[] alone = {
      "RANK=0", "WORLD_SIZE=1", "LOCAL_RANK=0", "MASTER_ADDR=127.0.0.1", "MASTER_PORT=29999"
    };
    assertThat(runWith("--nproc=2", alone)).contains("--nproc is 2, but").contains("is 1");
    assertThat(runWith("--nproc=1", alone)).contains("2 steps, loss");
  }

  private String runWith(String option, String... environment) throws Exception {
    ProcessBuilder builder =
        process(args(marked, dir.resolve("out"), "--steps=2", "--batch=2", option))
            .redirectErrorStream(true);
    for (String variable : environment) {
      String[] parts = variable.split("=", 2);
      builder.environment().put(parts[0], parts[1]);
    }
    Process process = builder.start();
    try (BufferedReader reader = process.inputReader()) {
      return String.join("\n", reader.lines().toList());
    } finally {
      process.destroy();
    }
  }
}
