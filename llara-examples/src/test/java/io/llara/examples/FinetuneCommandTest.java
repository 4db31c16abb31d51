package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import io.llara.testing.Stories;
import io.llara.train.contrastive.ContrastiveTrainer;
import io.llara.train.lora.LoraOptions;
import java.io.BufferedReader;
import java.io.IOException;
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
class FinetuneCommandTest {
  private static final String[] ANIMALS = {"dog", "bird", "cat", "fish", "bear", "frog"};

  @TempDir private static Path shared;

  private static Path model;
  private static Path pairs;

  @TempDir private Path dir;

  @BeforeAll
  static void prepare() throws IOException {
    model = Stories.dir();
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 24; i++) {
      String animal = ANIMALS[i % 6];
      lines.add(
          "{\"query\": \"where is the %s %d\", \"pos\": [\"the %s is in the park\"], \"neg\": [\"the %s is big\", \"a red ball\"]}"
              .formatted(animal, i, animal, ANIMALS[(i + 1) % 6]));
    }
    pairs = Files.write(shared.resolve("pairs.jsonl"), lines);
  }

  /** Settings under which a step takes no time; the model's prompts are the paper's. */
  private static List<String> args(Path out, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "finetune",
                "--model=" + model,
                "--pairs=" + pairs,
                "--out=" + out,
                "--negatives=2",
                "--passage-tokens=64",
                "--dtype=float32"));
    args.addAll(Arrays.asList(more));
    return args;
  }

  private static CommandRun finetune(Path out, String... more) {
    return CommandRun.of(args(out, more).toArray(String[]::new));
  }

  private static List<JsonObject> metrics(Path out) throws IOException {
    return Files.readAllLines(out.resolve("metrics.jsonl")).stream()
        .map(line -> new Gson().fromJson(line, JsonObject.class))
        .toList();
  }

  @Test
  void fromPairsToABetterEncoder() throws IOException {
    Path out = dir.resolve("tuned");
    CommandRun run = finetune(out, "--steps=3", "--batch=4", "--hold-out=0.2");
    assertThat(run.code()).as(run.err()).isZero();
    assertThat(run.out()).startsWith(out + ": 3 steps, loss ").contains(", accuracy ");
    assertThat(run.err()).contains("step 3/3: loss ").contains("held out, after step 3: loss ");
    assertThat(metrics(out)).hasSize(3);
    assertThat(Files.readAllBytes(out.resolve("loss.png"))).startsWith(0x89, 'P', 'N', 'G');
    assertThat(out.resolve("adapter").resolve("adapter_config.json")).exists();

    String text = "A llama.\n";
    CommandRun merged =
        CommandRun.withInput(
            text, "encode", "--model=" + out, "--mode=self", "--dtype=float32", "-");
    assertThat(merged.code()).as(merged.err()).isZero();
    CommandRun adapted =
        CommandRun.withInput(
            text,
            "encode",
            "--model=" + model,
            "--adapter=" + out.resolve("adapter"),
            "--template=llara-paper",
            "--mode=self",
            "--dtype=float32",
            "-");
    float[] expected = new Gson().fromJson(merged.out(), float[].class);
    float[] actual = new Gson().fromJson(adapted.out(), float[].class);
    assertThat(expected).hasSize(64);
    for (int i = 0; i < expected.length; i++) {
      assertThat(actual[i]).isCloseTo(expected[i], within(1e-5f));
    }

    Path one = dir.resolve("one");
    CommandRun merge =
        CommandRun.of(
            "merge", "--model=" + model, "--adapter=" + out.resolve("adapter"), "--out=" + one);
    assertThat(merge.out())
        .isEqualTo("%s: %s with %s%n".formatted(one, model, out.resolve("adapter")));
    assertThat(one.resolve("model.safetensors"))
        .hasSize(Files.size(out.resolve("model.safetensors")));
    Path further = dir.resolve("further");
    CommandRun continued =
        finetune(further, "--steps=1", "--batch=4", "--adapter=" + out.resolve("adapter"));
    assertThat(continued.code()).as(continued.err()).isZero();
    assertThat(further.resolve("adapter").resolve("adapter_config.json")).exists();

    CommandRun again = finetune(out, "--steps=3", "--batch=4", "--hold-out=0.2");
    assertThat(again.out())
        .isEqualTo(out + ": was already complete after 3 steps; nothing was done\n");
    LlaraTest.assertRefused(
        finetune(out, "--steps=3", "--batch=4", "--hold-out=0.2", "--temperature=0.1"),
        "temperature: was 0.02, now 0.1");
  }

  @Test
  void theBestModelIsSaidAndKept() throws IOException {
    Path beir = Files.createDirectories(dir.resolve("parks/qrels")).getParent();
    Files.writeString(
        beir.resolve("corpus.jsonl"),
        "{\"_id\": \"a\", \"text\": \"the cat is in the park\"}\n"
            + "{\"_id\": \"b\", \"text\": \"a red ball\"}\n");
    Files.writeString(
        beir.resolve("queries.jsonl"), "{\"_id\": \"q\", \"text\": \"where is the cat\"}\n");
    Files.writeString(beir.resolve("qrels/dev.tsv"), "query-id\tcorpus-id\tscore\nq\ta\t1\n");
    Path out = dir.resolve("out");
    String[] options = {
      "--steps=3",
      "--batch=2",
      "--evaluate-beir=" + beir,
      "--evaluate-split=dev",
      "--evaluate-every=2"
    };
    CommandRun run = finetune(out, options);
    assertThat(run.code()).as(run.err()).isZero();
    assertThat(run.err())
        .contains("after step 2: searching test collections")
        .containsPattern("after step 2: nDCG@10 [01]\\.\\d{4}, the best so far: kept")
        .containsPattern("after step 3: nDCG@10 [01]\\.\\d{4}");
    assertThat(run.out().strip())
        .matches(
            ".*; best nDCG@10 [01]\\.\\d{4} after step [23]: \\Q%s\\E \\(\\Q%s\\E has the model of the last step\\)"
                .formatted(out.resolve("best"), out));
    CommandRun encode =
        CommandRun.withInput(
            "A llama.\n", "encode", "--model=" + out.resolve("best"), "--mode=self", "-");
    assertThat(encode.code()).as(encode.err()).isZero();
    assertThat(finetune(out, options).out()).contains("nothing was done; best nDCG@10");
    LlaraTest.assertRefused(
        finetune(dir.resolve("no"), "--evaluate-beir=" + dir.resolve("none")),
        "none: is not a directory");
  }

  @Test
  void negativesAreMinedAnew() throws IOException {
    Path out = dir.resolve("out");
    Path corpus = dir.resolve("corpus.jsonl");
    List<String> documents = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      documents.add(
          "{\"_id\": \"%d\", \"text\": \"the %s likes to play %d\"}"
              .formatted(i, ANIMALS[i % 6], i));
    }
    Files.write(corpus, documents);
    CommandRun run =
        finetune(
            out,
            "--steps=4",
            "--batch=4",
            "--refresh-every=2",
            "--refreshes=1",
            "--corpus=" + corpus,
            "--refresh-ranks=0-5");
    assertThat(run.code()).as(run.err()).isZero();
    Path refreshed = out.resolve("refresh").resolve("step-00000002").resolve("pairs.jsonl");
    assertThat(run.err())
        .contains("after step 2: mining new negatives")
        .contains("continuing with " + refreshed);
    assertThat(Files.readAllLines(refreshed))
        .hasSize(24)
        .allSatisfy(line -> assertThat(line).contains("likes to play"));
    assertThat(Files.readString(out.resolve("run.json")))
        .contains("every 2 steps from step 2 on, 1 times at most; 15 of ranks 0-5 in " + corpus);
  }

  @Test
  void itsDefaultsAreTheLibrarys() throws IOException {
    assertDefaults(UnaryOperator.identity(), "1.0E-4");
    assertDefaults(ContrastiveTrainer.Builder::fullParameters, "1.0E-5", "--full");
    assertThat(CommandRun.of("finetune", "--help").out().replaceAll("\\s+", " "))
        .contains("1e-4 with LoRA, 1e-5 with --full")
        .contains("(default: rank %d)".formatted(LoraOptions.DEFAULT.rank()))
        .contains("over all processes (default: 16; llara: 8)")
        .contains("divided by (default: 0.02; llara: 0.01)")
        .contains("passages of the other queries (default: 15)")
        .contains("query's prompt; longer ones are truncated (default: 64)")
        .contains("passage's prompt; longer ones are truncated (default: 256; llara: 160)");
  }

  private void assertDefaults(
      UnaryOperator<ContrastiveTrainer.Builder> like, String rate, String... options)
      throws IOException {
    Path byLibrary = Files.createTempDirectory(dir, "library");
    Path byCommand = Files.createTempDirectory(dir, "command");
    like.apply(ContrastiveTrainer.builder(model, List.of(pairs), byLibrary).steps(1)).build().run();
    List<String> args =
        new ArrayList<>(
            List.of(
                "finetune",
                "--model=" + model,
                "--pairs=" + pairs,
                "--out=" + byCommand,
                "--steps=1"));
    args.addAll(Arrays.asList(options));
    assertThat(CommandRun.of(args.toArray(String[]::new)).code()).isZero();
    String settings = Files.readString(byLibrary.resolve("run.json"));
    assertThat(Files.readString(byCommand.resolve("run.json"))).isEqualTo(settings);
    assertThat(settings).contains("\"learning rate\": \"%s\"".formatted(rate));
  }

  @Test
  void everySettingArrives() throws IOException {
    Path out = dir.resolve("out");
    CommandRun run =
        finetune(
            out,
            "--temperature=0.5",
            "--no-normalize",
            "--few-negatives=refuse",
            "--modes=s2s",
            "--template=llara-paper",
            "--query-tokens=48",
            "--sub-batch=3",
            "--lora=8",
            "--lora-alpha=32",
            "--lora-dropout=0.1",
            "--train-markers",
            "--epochs=1",
            "--batch=8",
            "--lr=0.002",
            "--warmup=1",
            "--weight-decay=0.01",
            "--clip=0.5",
            "--skip-bad-lines",
            "--hold-out=0.2",
            "--shuffle-buffer=50",
            "--evaluate-every=1",
            "--save-every=1",
            "--seed=3",
            "--threads=1",
            "--nproc=1",
            "--recompute");
    assertThat(run.code()).as(run.err()).isZero();
    assertThat(Files.readString(out.resolve("run.json")))
        .contains("\"temperature\": \"0.5\"", "\"normalize\": \"false\"")
        .contains("\"shuffle buffer\": \"50, all lines\"")
        .contains("\"negatives\": \"2\"", "\"few negatives\": \"REFUSE\"")
        .contains("\"modes\": \"s2s\"", "\"template\": \"llara-paper\"")
        .contains("\"query max tokens\": \"48\"", "\"passage max tokens\": \"64\"")
        .contains("\"sub-batch\": \"3\"", "rank=8, alpha=32.0, dropout=0.1")
        .contains("\"train markers\": \"true\"", "\"batch\": \"8\"")
        .contains("\"learning rate\": \"0.002\"", "\"warm-up steps\": \"1\"")
        .contains("\"weight decay\": \"0.01\"", "\"clip\": \"0.5\"")
        .contains("\"bad lines\": \"SKIP\"", "\"held out\": \"0.2\"")
        .contains("\"seed\": \"3\"", "\"threads\": \"1\"", "\"refresh\": \"none\"");
    assertThat(run.err()).contains("held out, after step 1");
    assertThat(out.resolve("checkpoints").resolve("step-00000001")).isDirectory();
  }

  @Test
  void refusesBadInputInOneLine() throws IOException {
    Path out = dir.resolve("out");
    Path empty = Files.createFile(dir.resolve("empty.jsonl"));
    Path bare =
        Files.writeString(dir.resolve("bare.jsonl"), "{\"query\": \"a\", \"neg\": [\"b\"]}\n");
    LlaraTest.assertRefused(
        CommandRun.of("finetune", "--model=" + model, "--pairs=" + empty, "--out=" + out),
        "empty.jsonl: no usable pair");
    LlaraTest.assertRefused(
        CommandRun.of("finetune", "--model=" + model, "--pairs=" + bare, "--out=" + out),
        "bare.jsonl:1: ");
    LlaraTest.assertRefused(
        CommandRun.of(
            "finetune",
            "--model=" + model,
            "--pairs=" + pairs,
            "--out=" + out,
            "--negatives=3",
            "--few-negatives=refuse"),
        "pairs.jsonl:1: key 'neg' is a list of 2 passages");
    LlaraTest.assertRefused(finetune(out, "--temperature=NaN"), "temperature is NaN");
    LlaraTest.assertRefused(finetune(out, "--modes=x2y"), "--modes");
    LlaraTest.assertRefused(finetune(out, "--template=mine"), "--template is mine; known are");
    LlaraTest.assertRefused(finetune(out, "--template=llama2vec"), "llara add-markers");
    LlaraTest.assertRefused(finetune(out, "--lora=4", "--full"), "exclude each other");
    LlaraTest.assertRefused(
        finetune(out, "--adapter=a", "--lora=4"), "--lora and --adapter exclude each other");
    LlaraTest.assertRefused(
        finetune(out, "--adapter=a", "--full"), "--full and --adapter exclude each other");
    LlaraTest.assertRefused(
        finetune(out, "--adapter=none"), "none: does not exist; expected the directory of an");
    LlaraTest.assertRefused(finetune(out, "--full", "--train-markers"), "--train-markers");
    LlaraTest.assertRefused(finetune(out, "--nproc=3"), "3 processes");
    LlaraTest.assertRefused(finetune(out, "--query-tokens=3"), "leaves no room");
    LlaraTest.assertRefused(finetune(out, "--corpus=c.jsonl"), "give --refresh-every N too");
    LlaraTest.assertRefused(finetune(out, "--refresh-every=0"), "every 0 steps");
    LlaraTest.assertRefused(
        finetune(out, "--refresh-every=2", "--corpus=none.jsonl"), "none.jsonl");
    LlaraTest.assertRefused(
        finetune(out, "--refresh-every=2", "--refresh-ranks=5"), "--refresh-ranks is 5");
    LlaraTest.assertRefused(
        finetune(out, "--refresh-every=2", "--refresh-ranks=5-5"),
        "the ranks are from 5 to below 5");
    assertThat(out).doesNotExist();
  }

  /** The launcher in a process of its own. */
  private static ProcessBuilder process(List<String> args) {
    return PretrainCommandTest.process(args);
  }

  @Test
  @Timeout(180)
  void endedByASignalItGoesOnFromThere() throws Exception {
    Path out = dir.resolve("out");
    List<String> args = args(out, "--steps=100000", "--batch=2", "--threads=1");
    long first = PretrainCommandTest.runUntilSignal(args, "step 1/100000");
    long second = PretrainCommandTest.runUntilSignal(args, "step %d/100000".formatted(first + 1));
    assertThat(second).isGreaterThan(first);
    assertThat(metrics(out).stream().map(line -> line.get("step").getAsLong()))
        .containsExactlyElementsOf(LongStream.rangeClosed(1, second).boxed().toList());
    assertThat(out.resolve("checkpoints").resolve("step-%08d".formatted(second))).isDirectory();
  }

  @Test
  @Timeout(180)
  void twoProcessesTrainAsOne() throws Exception {
    Path alone = dir.resolve("alone");
    Path together = dir.resolve("together");
    String[] settings = {
      "--steps=3", "--batch=4", "--threads=1", "--refresh-every=2", "--refresh-ranks=0-9"
    };
    assertThat(finetune(alone, settings).code()).isZero();
    List<String> args = args(together, settings);
    args.add("--nproc=2");
    Path log = dir.resolve("log.txt");
    Process process = process(args).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    try {
      assertThat(process.waitFor(150, TimeUnit.SECONDS)).isTrue();
    } finally {
      process.destroy();
    }
    assertThat(process.exitValue()).as(Files.readString(log)).isZero();
    for (int i = 0; i < 3; i++) {
      assertThat(metrics(together).get(i).get("loss").getAsDouble())
          .isCloseTo(metrics(alone).get(i).get("loss").getAsDouble(), within(1e-4));
    }
  }

  @Test
  void refreshesAreShownInTheProgress() throws IOException {
    Path out = dir.resolve("out");
    CommandRun run =
        finetune(
            out,
            "--steps=2",
            "--batch=2",
            "--progress",
            "--refresh-every=1",
            "--refresh-ranks=0-9");
    assertThat(run.code()).as(run.err()).isZero();
    assertThat(run.err()).contains("] 2/2 loss").contains(" accuracy ").contains("continuing with");
    try (BufferedReader lines = Files.newBufferedReader(out.resolve("metrics.jsonl"))) {
      assertThat(lines.lines()).hasSize(2);
    }
  }
}
