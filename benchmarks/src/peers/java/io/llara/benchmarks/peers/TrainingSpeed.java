package io.llara.benchmarks.peers;

import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.Mode;
import io.llara.TextModes;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.Reserve;
import io.llara.tokenize.Tokenizer;
import io.llara.train.RunInfo;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.contrastive.ContrastiveTrainer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.zip.GZIPInputStream;

/**
 * How fast {@link ContrastiveTrainer} and PyTorch with transformers train the same model, all
 * parameters, on the same prompts with the same loss (InfoNCE, the other passages of a batch as
 * negatives) and AdamW, steps in turn within one run. The same pairs come again in every step, in
 * another order.
 *
 * <pre>{@code
 * TrainingSpeed MODEL_DIR PAIRS.jsonl.gz BATCH ROUNDS float32|bfloat16 PYTHON SCRIPT
 * }</pre>
 *
 * <p>The model has markers, as of {@code llara add-markers}; the script is {@code
 * benchmarks/scripts/transformers-training-peer.py}. The losses of both before their first update
 * are printed: they show that both do the same work.
 */
public final class TrainingSpeed {
  private static final int QUERY_TOKENS = 48;
  private static final int PASSAGE_TOKENS = 128;
  private static final int STEPS_OF_A_TURN = 3;
  private static final double LEARNING_RATE = 1e-5;
  private static final int THREADS = Runtime.getRuntime().availableProcessors();

  private TrainingSpeed() {}

  /** A step: its loss, and how long it took. */
  private record Step(double loss, double seconds) {}

  /** Makes steps when it is told to. */
  private interface Side extends AutoCloseable {
    Step step() throws Exception;

    @Override
    void close() throws Exception;
  }

  /** Measures and prints a table. */
  public static void main(String[] args) throws Exception {
    if (args.length != 7) {
      System.err.println(
          "usage: TrainingSpeed MODEL_DIR PAIRS.jsonl.gz BATCH ROUNDS float32|bfloat16 PYTHON SCRIPT");
      System.exit(2);
    }
    Path model = Path.of(args[0]);
    int batch = Integer.parseInt(args[2]);
    int rounds = Integer.parseInt(args[3]);
    List<String> pairs = pairs(Path.of(args[1]), batch);
    Path folder = Files.createTempDirectory("llara-training-speed");
    Path prompts = folder.resolve("prompts.jsonl");
    long tokens = writePrompts(model, pairs, prompts);
    System.out.printf("%d pairs, %d tokens a step, %d threads%n", batch, tokens, THREADS);
    try (Side llara = new Llara(model, Files.write(folder.resolve("pairs.jsonl"), pairs), batch, args[4]);
        Side python = new Python(args[5], args[6], model, prompts, args[4])) {
      System.out.printf(
          Locale.ROOT, "first loss: llara %.4f, Python %.4f%n", llara.step().loss(), python.step().loss());
      llara.step();
      python.step();
      List<Double> ours = new ArrayList<>();
      List<Double> theirs = new ArrayList<>();
      List<Double> ratios = new ArrayList<>();
      for (int round = 0; round < rounds; round++) {
        double mine = turn(llara);
        double other = turn(python);
        ours.add(tokens / mine);
        theirs.add(tokens / other);
        ratios.add(other / mine);
      }
      System.out.printf(
          Locale.ROOT,
          "llara %.0f tokens/s, Python %.0f tokens/s, ratio %.2f (%.2f–%.2f)%n",
          median(ours),
          median(theirs),
          median(ratios),
          ratios.stream().min(Double::compare).orElseThrow(),
          ratios.stream().max(Double::compare).orElseThrow());
    } finally {
      MoreFiles.deleteRecursively(folder, RecursiveDeleteOption.ALLOW_INSECURE);
    }
    System.exit(0);
  }

  /** Returns the mean seconds of some steps. */
  private static double turn(Side side) throws Exception {
    double sum = 0;
    for (int i = 0; i < STEPS_OF_A_TURN; i++) {
      sum += side.step().seconds();
    }
    return sum / STEPS_OF_A_TURN;
  }

  private static double median(List<Double> values) {
    return values.stream().sorted().toList().get(values.size() / 2);
  }

  /** Returns lines of pairs no two of which have a passage in common. */
  private static List<String> pairs(Path file, int count) throws IOException {
    List<String> lines = new ArrayList<>();
    Set<String> passages = new HashSet<>();
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(
                new GZIPInputStream(Files.newInputStream(file)), StandardCharsets.UTF_8))) {
      for (String line = reader.readLine();
          line != null && lines.size() < count;
          line = reader.readLine()) {
        if (passages.add(passage(line))) {
          lines.add(line);
        }
      }
    }
    if (lines.size() < count) {
      throw new IllegalArgumentException(file + " has only " + lines.size() + " passages");
    }
    return lines;
  }

  private static String passage(String line) {
    return json(line).getAsJsonArray("pos").get(0).getAsString();
  }

  private static JsonObject json(String line) {
    return JsonParser.parseString(line).getAsJsonObject();
  }

  /** Writes the ids of queries and passages, a pair a line, and returns how many there are. */
  private static long writePrompts(Path model, List<String> pairs, Path file) throws IOException {
    long tokens = 0;
    List<String> lines = new ArrayList<>();
    Gson gson = new Gson();
    try (Tokenizer tokenizer = Tokenizer.load(model)) {
      PromptBuilder prompts =
          PromptBuilder.create(PromptTemplate.LLAMA2VEC, tokenizer)
              .withReserve(Reserve.OWN_SUFFIX);
      for (String line : pairs) {
        Prompt query =
            prompts.build(json(line).get("query").getAsString(), Mode.NEXT, QUERY_TOKENS);
        Prompt passage = prompts.build(passage(line), Mode.SELF, PASSAGE_TOKENS);
        tokens += query.length() + passage.length();
        lines.add(gson.toJson(List.of(query.ids(), passage.ids())));
      }
    }
    Files.write(file, lines);
    return tokens;
  }

  /** A run of training that waits before each step until it is told to go on. */
  private static final class Llara implements Side {
    private final Semaphore turns = new Semaphore(0);
    private final BlockingQueue<Step> steps = new LinkedBlockingQueue<>();
    private final FutureTask<?> run;

    Llara(Path model, Path pairs, int batch, String type) {
      ContrastiveTrainer trainer =
          ContrastiveTrainer.builder(model, List.of(pairs), pairs.resolveSibling("run"))
              .fullParameters()
              .batch(batch)
              .negatives(0)
              .modes(TextModes.N2S)
              .queryMaxTokens(QUERY_TOKENS)
              .passageMaxTokens(PASSAGE_TOKENS)
              .learningRate(LEARNING_RATE)
              .warmup(0)
              .steps(1_000_000)
              .saveEvery(1_000_000)
              .threads(THREADS)
              .computeType(ComputeType.valueOf(type.toUpperCase(Locale.ROOT)))
              .listener(
                  new TrainingListener() {
                    @Override
                    public void started(RunInfo info) {
                      turns.acquireUninterruptibly();
                    }

                    @Override
                    public void step(StepReport report) {
                      steps.add(new Step(report.loss(), report.seconds()));
                      turns.acquireUninterruptibly();
                    }
                  })
              .build();
      run = new FutureTask<>(trainer::run);
      Thread thread = new Thread(run, "training");
      thread.setDaemon(true);
      thread.start();
    }

    @Override
    public Step step() throws InterruptedException, ExecutionException {
      turns.release();
      for (; ; ) {
        Step step = steps.poll(1, TimeUnit.SECONDS);
        if (step != null) {
          return step;
        }
        if (run.isDone()) {
          run.get();
          throw new IllegalStateException("training ended");
        }
      }
    }

    /** It waits for its turn, on a thread that ends with the process. */
    @Override
    public void close() {}
  }

  /** A process that makes a step for each line that it is sent. */
  private static final class Python implements Side {
    private final Process process;
    private final BufferedReader answers;
    private final Writer requests;

    Python(String python, String script, Path model, Path prompts, String type)
        throws IOException {
      process =
          new ProcessBuilder(
                  python,
                  script,
                  model.toString(),
                  Integer.toString(THREADS),
                  prompts.toString(),
                  type,
                  Integer.toString(PromptTemplate.LLAMA2VEC.self().markers().size()),
                  Double.toString(LEARNING_RATE))
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start();
      answers = process.inputReader(StandardCharsets.UTF_8);
      requests = process.outputWriter(StandardCharsets.UTF_8);
    }

    @Override
    public Step step() throws IOException {
      requests.write("\n");
      requests.flush();
      String line = answers.readLine();
      if (line == null) {
        throw new IOException("the Python side ended before it answered");
      }
      String[] parts = line.split(" ", -1);
      return new Step(Double.parseDouble(parts[0]), Double.parseDouble(parts[1]));
    }

    @Override
    public void close() {
      process.destroy();
    }
  }
}
