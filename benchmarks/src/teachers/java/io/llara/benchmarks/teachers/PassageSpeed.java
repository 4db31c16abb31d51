package io.llara.benchmarks.teachers;

import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.onnx.allminilml6v2.AllMiniLmL6V2EmbeddingModel;
import dev.langchain4j.model.embedding.onnx.bgesmallenv15.BgeSmallEnV15EmbeddingModel;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.benchmarks.DefaultEncoder;
import io.llara.retrieval.Corpus;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * How fast passages and single queries are embedded by the default encoder, in each compute type
 * named, and by bge-small-en-v1.5 and all-MiniLM-L6-v2 through LangChain4j, in turn within one run.
 * Each uses the threads that it uses by itself.
 *
 * <pre>{@code
 * PassageSpeed CORPUS ROUNDS COMPUTE_TYPE…
 * }</pre>
 *
 * <p>The texts are beginnings of the passages of a corpus in BEIR format, of about a hundred
 * tokens.
 */
public final class PassageSpeed {
  private static final int TEXTS = 64;
  private static final int CHARACTERS = 480;
  private static final int QUERIES = 30;

  /** Seventeen tokens to the default encoder, prompt left out. */
  private static final String QUERY =
      "what are the boundary conditions of a supersonic flow past a thin wing with sweep";

  private PassageSpeed() {}

  /** One way to embed. */
  private interface Side {
    String name();

    /** Embeds all texts. */
    void passages(List<String> texts);

    /** Embeds one query. */
    void query(String text);
  }

  private record Llara(String name, Encoder encoder) implements Side {
    @Override
    public void passages(List<String> texts) {
      encoder.forPassages().encodeAll(texts, Mode.SELF);
    }

    @Override
    public void query(String text) {
      encoder.encodeQuery(text);
    }
  }

  private record Langchain4j(String name, EmbeddingModel model) implements Side {
    @Override
    public void passages(List<String> texts) {
      model.embedAll(texts.stream().map(TextSegment::from).toList());
    }

    @Override
    public void query(String text) {
      model.embed(text);
    }
  }

  /** What a side took, in seconds. */
  private record Times(Side side, List<Double> passages, List<Double> queries) {
    Times(Side side) {
      this(side, new ArrayList<>(), new ArrayList<>());
    }

    void round(List<String> texts) {
      passages.add(seconds(() -> side.passages(texts)));
      for (int i = 0; i < QUERIES; i++) {
        queries.add(seconds(() -> side.query(QUERY)));
      }
    }
  }

  /** Prints a table. */
  public static void main(String[] args) {
    if (args.length < 3) {
      System.err.println("usage: PassageSpeed CORPUS ROUNDS COMPUTE_TYPE…");
      System.exit(2);
    }
    List<Times> sides = new ArrayList<>();
    List<Encoder> encoders = new ArrayList<>();
    for (String type : List.of(args).subList(2, args.length)) {
      Encoder encoder = DefaultEncoder.open(type, Runtime.getRuntime().availableProcessors());
      encoders.add(encoder);
      sides.add(new Times(new Llara("llara-mini, " + type, encoder)));
    }
    sides.add(
        new Times(new Langchain4j("bge-small-en-v1.5", new BgeSmallEnV15EmbeddingModel())));
    sides.add(
        new Times(new Langchain4j("all-MiniLM-L6-v2", new AllMiniLmL6V2EmbeddingModel())));
    List<String> texts;
    try (Stream<String> passages = Corpus.of(Path.of(args[0])).passages()) {
      texts =
          passages
              .filter(text -> text.length() > CHARACTERS)
              .map(text -> text.substring(0, text.lastIndexOf(' ', CHARACTERS)))
              .limit(TEXTS)
              .toList();
    }
    Encoder first = encoders.get(0);
    int prompt = first.countTokens(".", Mode.SELF) - 1;
    System.out.printf(
        Locale.ROOT,
        "%d passages of %.0f tokens, and %d of the prompt; a query of %d tokens, and %d%n%n",
        texts.size(),
        texts.stream().mapToInt(text -> first.countTokens(text, Mode.SELF) - prompt).average().orElse(0),
        prompt,
        first.countTokens(QUERY, Mode.NEXT) - first.countTokens(".", Mode.NEXT) + 1,
        first.countTokens(".", Mode.NEXT) - 1);
    int rounds = Integer.parseInt(args[1]);
    for (Times side : sides) {
      side.round(texts);
      side.passages().clear();
      side.queries().clear();
    }
    for (int round = 0; round < rounds; round++) {
      sides.forEach(side -> side.round(texts));
    }
    System.out.println("| | passages/s (least–most) | query, p50 | p95 |");
    System.out.println("|---|---|---:|---:|");
    for (Times side : sides) {
      System.out.printf(
          Locale.ROOT,
          "| %s | %.1f (%.1f–%.1f) | %.1f ms | %.1f ms |%n",
          side.side().name(),
          TEXTS / at(side.passages(), 0.5),
          TEXTS / at(side.passages(), 1),
          TEXTS / at(side.passages(), 0),
          1000 * at(side.queries(), 0.5),
          1000 * at(side.queries(), 0.95));
    }
    encoders.forEach(Encoder::close);
  }

  private static double seconds(Runnable work) {
    long begin = System.nanoTime();
    work.run();
    return (System.nanoTime() - begin) / 1e9;
  }

  /** Returns a value by its place among all, from 0 to 1. */
  private static double at(List<Double> values, double place) {
    return values.stream().sorted().toList().get((int) Math.round(place * (values.size() - 1)));
  }
}
