package io.llara.benchmarks.peers;

import com.google.gson.Gson;
import de.kherud.llama.LlamaModel;
import de.kherud.llama.ModelParameters;
import de.kherud.llama.args.LogFormat;
import de.kherud.llama.args.PoolingType;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.benchmarks.imported.ComparedTexts;
import io.llara.prompt.PromptTemplate;
import io.llara.tokenize.Tokenizer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * How fast this library and others embed the same texts with the same model, in turn within one
 * run.
 *
 * <pre>{@code
 * EmbeddingSpeed MODEL_DIR SHARED_DATA_FOLDER ROUNDS SIDE …
 * }</pre>
 *
 * <p>A side is {@code llara:TYPE}, {@code llama.cpp:FILE.gguf} (java-llama.cpp) or {@code
 * python:PYTHON:SCRIPT:ARGUMENT…}, a process of one of {@code benchmarks/scripts/*-peer.py}; the
 * first is what the others are compared with. All take the state of the end-of-text token behind
 * each text, normalised, and use as many threads as there are processors. The lowest cosine between
 * the vectors of a side and those of the first is printed: it shows that they do the same work. A
 * side that fails ends the program, with exit code 1.
 */
public final class EmbeddingSpeed {
  private static final int TEXTS = 64;
  private static final int CHARACTERS = 500;
  private static final int MAX_TOKENS = 512;
  private static final int THREADS = Runtime.getRuntime().availableProcessors();

  private EmbeddingSpeed() {}

  /** One way to embed the texts. */
  private interface Side extends AutoCloseable {
    /** Returns the vectors of the texts. */
    List<float[]> vectors();

    /** Embeds all texts once and returns the seconds that took. */
    default double seconds() {
      long begin = System.nanoTime();
      vectors();
      return (System.nanoTime() - begin) / 1e9;
    }

    @Override
    void close();
  }

  /** Compares and prints a table. */
  public static void main(String[] args) {
    if (args.length < 4) {
      System.err.println("usage: EmbeddingSpeed MODEL_DIR SHARED_DATA_FOLDER ROUNDS SIDE …");
      System.exit(2);
    }
    List<Side> sides = new ArrayList<>();
    int code = 0;
    try {
      run(args, sides);
    } catch (Throwable e) {
      e.printStackTrace();
      code = 1;
    }
    // llama.cpp does not always come to an end when it is closed, nor does it let the JVM end when
    // something else failed: the process ends with it.
    sides.stream().filter(Python.class::isInstance).forEach(Side::close);
    System.out.flush();
    System.err.flush();
    Runtime.getRuntime().halt(code);
  }

  private static void run(String[] args, List<Side> sides) throws IOException {
    Path model = Path.of(args[0]);
    List<String> texts = texts(Path.of(args[1]).resolve("text"));
    int rounds = Integer.parseInt(args[2]);
    LlamaModel.setLogger(LogFormat.TEXT, (level, message) -> {});
    long tokens = 0;
    String eos;
    try (Tokenizer tokenizer = Tokenizer.load(model)) {
      eos = tokenizer.eosToken().orElseThrow();
      for (String text : texts) {
        tokens += tokenizer.encodeText(text).length + 1;
      }
    }
    System.out.printf("%d texts, %d tokens, %d threads%n", texts.size(), tokens, THREADS);
    List<String> names = Arrays.asList(args).subList(3, args.length);
    for (String name : names) {
      sides.add(side(name, model, texts, eos));
    }
    compare(names, sides, rounds, tokens);
  }

  /** Beginnings of the shared texts, cut between words. */
  private static List<String> texts(Path folder) throws IOException {
    List<String> all =
        ComparedTexts.shared(folder).stream()
            .filter(text -> text.length() > CHARACTERS)
            .map(text -> text.substring(0, text.lastIndexOf(' ', CHARACTERS)).strip())
            .filter(text -> text.length() > CHARACTERS / 2)
            .toList();
    return all.subList(all.size() - TEXTS, all.size());
  }

  private static void compare(List<String> names, List<Side> sides, int rounds, long tokens) {
    List<List<Double>> seconds = new ArrayList<>();
    for (Side side : sides) {
      seconds.add(new ArrayList<>());
      side.seconds();
    }
    for (int round = 0; round < rounds; round++) {
      for (int i = 0; i < sides.size(); i++) {
        seconds.get(i).add(sides.get(i).seconds());
      }
    }
    List<float[]> expected = sides.get(0).vectors();
    System.out.println("| side | tokens/s | times as long (min–max) | lowest cosine |");
    System.out.println("|---|---:|---|---:|");
    for (int i = 0; i < sides.size(); i++) {
      List<Double> ratios = new ArrayList<>();
      for (int round = 0; round < rounds; round++) {
        ratios.add(seconds.get(i).get(round) / seconds.get(0).get(round));
      }
      List<float[]> found = sides.get(i).vectors();
      double lowest = 1;
      for (int text = 0; text < expected.size(); text++) {
        lowest = Math.min(lowest, Similarity.cosine(expected.get(text), found.get(text)));
      }
      System.out.printf(
          Locale.ROOT,
          "| %s | %.0f | %.2f (%.2f–%.2f) | %.5f |%n",
          names.get(i).replaceAll("[^: ]*/", ""),
          tokens / median(seconds.get(i)),
          median(ratios),
          ratios.stream().min(Double::compare).orElseThrow(),
          ratios.stream().max(Double::compare).orElseThrow(),
          lowest);
    }
  }

  private static double median(List<Double> values) {
    List<Double> sorted = values.stream().sorted().toList();
    return sorted.get(sorted.size() / 2);
  }

  private static Side side(String name, Path model, List<String> texts, String eos)
      throws IOException {
    List<String> parts = List.of(name.split(":"));
    return switch (parts.get(0)) {
      case "llara" ->
          new Llara(model, ComputeType.valueOf(parts.get(1).toUpperCase(Locale.ROOT)), texts);
      case "llama.cpp" -> new LlamaCpp(parts.get(1), texts, eos);
      case "python" -> new Python(name, parts.subList(1, parts.size()), model, texts);
      default -> throw new IllegalArgumentException("no such side: " + name);
    };
  }

  private static final class Llara implements Side {
    private final Encoder encoder;
    private final List<String> texts;

    Llara(Path model, ComputeType type, List<String> texts) {
      this.texts = texts;
      this.encoder =
          Encoder.builder(model)
              .template(PromptTemplate.builder("end-of-text").eos().build())
              .maxTokens(MAX_TOKENS)
              .computeType(type)
              .build();
    }

    @Override
    public List<float[]> vectors() {
      return encoder.encodeAll(texts, Mode.SELF);
    }

    @Override
    public void close() {
      encoder.close();
    }
  }

  /**
   * One text after the other: sixteen callers at once, which it could batch, took twice as long.
   */
  private static final class LlamaCpp implements Side {
    private final LlamaModel model;
    private final List<String> texts;

    LlamaCpp(String file, List<String> texts, String eos) {
      this.texts = texts.stream().map(text -> text + eos).toList();
      this.model =
          new LlamaModel(
              new ModelParameters()
                  .setModel(file)
                  .setGpuLayers(0)
                  .setThreads(THREADS)
                  .setThreadsBatch(THREADS)
                  .setCtxSize(MAX_TOKENS)
                  .setBatchSize(MAX_TOKENS)
                  .setUbatchSize(MAX_TOKENS)
                  .enableEmbedding()
                  .setPoolingType(PoolingType.LAST)
                  .disableLog());
    }

    @Override
    public List<float[]> vectors() {
      return texts.stream().map(model::embed).toList();
    }

    @Override
    public void close() {
      model.close();
    }
  }

  /** A process that embeds whenever it is sent a line. */
  private static final class Python implements Side {
    private final String name;
    private final Process process;
    private final BufferedReader answers;
    private final Writer requests;
    private final List<float[]> vectors = new ArrayList<>();

    Python(String name, List<String> parts, Path model, List<String> texts) throws IOException {
      Gson gson = new Gson();
      Path file = Files.createTempFile("llara-peers", ".jsonl");
      Files.writeString(file, texts.stream().map(gson::toJson).collect(Collectors.joining("\n")));
      List<String> command = new ArrayList<>(parts.subList(0, 2));
      command.addAll(List.of(model.toString(), Integer.toString(THREADS), file.toString()));
      command.addAll(parts.subList(2, parts.size()));
      this.name = name;
      this.process =
          new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
      this.answers =
          new BufferedReader(
              new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
      this.requests = process.outputWriter(StandardCharsets.UTF_8);
      try {
        for (int i = 0; i < texts.size(); i++) {
          vectors.add(gson.fromJson(answer(), float[].class));
        }
      } catch (IOException | RuntimeException e) {
        close();
        throw e;
      } finally {
        Files.delete(file);
      }
    }

    /** Returns the next line; what a process that ended said on standard error is seen above. */
    private String answer() throws IOException {
      String line = answers.readLine();
      if (line == null) {
        throw new IOException("the side " + name + " ended before it answered");
      }
      return line;
    }

    @Override
    public List<float[]> vectors() {
      return vectors;
    }

    @Override
    public double seconds() {
      try {
        requests.write("\n");
        requests.flush();
        return Double.parseDouble(answer());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public void close() {
      process.destroy();
    }
  }
}
