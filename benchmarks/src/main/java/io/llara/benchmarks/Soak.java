package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.Overflow;
import io.llara.tensor.Cpu;
import io.llara.tensor.TensorScope;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Encodes many texts and watches the resident set and the number of native objects alive; once with
 * calls that succeed, once with every tenth call throwing.
 *
 * <pre>{@code
 * Soak MODEL_DIR [ENCODES [TYPE]]
 * }</pre>
 *
 * <p>Each run has a JVM of its own, whose heap is resident from the start: what grows is not the
 * heap. Exit code 1 if the resident set grows by 2 % or more after the first quarter, or objects
 * are left over.
 */
public final class Soak {
  private static final String CHILD = "--child";

  /**
   * The tokenizer keeps the last ten thousand words it has met, and a SentencePiece-like tokenizer
   * takes a short text as one word. Fewer texts than encodes of the warm-up let it fill that cache
   * before the measurement; it is bounded in any case.
   */
  private static final int DISTINCT_TEXTS = 1000;

  private static final int DEFAULT_ENCODES = 20_000;
  private static final double ALLOWED_GROWTH = 0.02;

  private static final String[] WORDS =
      ("once upon a time there was little llama who liked to walk in the high mountains and"
              + " look for green grass friends said good morning but it began raining so they ran"
              + " home together happy")
          .split(" ");

  private static final String TOO_LONG = "a llama and another llama ".repeat(500);

  private Soak() {}

  /** Runs both kinds. */
  public static void main(String[] args) {
    if (args.length == 5 && args[0].equals(CHILD)) {
      boolean flat =
          run(
              Path.of(args[1]),
              Integer.parseInt(args[2]),
              Types.parse(args[3]),
              Boolean.parseBoolean(args[4]));
      System.exit(flat ? 0 : 1);
    }
    if (args.length == 0 || args.length > 3) {
      System.err.println("usage: Soak MODEL_DIR [ENCODES [float32|bfloat16]]");
      System.exit(2);
    }
    String encodes = args.length > 1 ? args[1] : Integer.toString(DEFAULT_ENCODES);
    String type = args.length > 2 ? args[2] : Types.name(Cpu.resolve(ComputeType.AUTO));
    List<String> jvm = List.of("-Xms256m", "-Xmx256m", "-XX:+AlwaysPreTouch");
    int worst = 0;
    for (String throwing : List.of("false", "true")) {
      List<String> arguments = List.of(CHILD, args[0], encodes, type, throwing);
      worst = Math.max(worst, ChildJvm.run(Soak.class, jvm, arguments));
    }
    System.exit(worst);
  }

  private static boolean run(Path dir, int encodes, ComputeType type, boolean throwing) {
    System.out.println(
        Types.name(type) + ", " + (throwing ? "every tenth call throws" : "calls that succeed"));
    int warmUp = Math.max(1, encodes / 4);
    int step = Math.max(1, encodes / 20);
    SplittableRandom random = new SplittableRandom(1);
    List<String> texts = Stream.generate(() -> text(random)).limit(DISTINCT_TEXTS).toList();
    long residentBefore = 0;
    long liveBefore = 0;
    int thrown = 0;
    try (Encoder encoder =
        Encoder.builder(dir)
            .template("llara-paper")
            .computeType(type)
            .onOverflow(Overflow.REFUSE)
            .build()) {
      for (int i = 1; i <= encodes; i++) {
        if (throwing && i % 10 == 0) {
          thrown += fail(encoder, i / 10);
        } else if (i % 5 == 0) {
          check(encoder.encodeBoth(texts.get(i % texts.size())).next());
        } else {
          check(encoder.encode(texts.get(i % texts.size()), i % 2 == 0 ? Mode.SELF : Mode.NEXT));
        }
        if (i == warmUp) {
          residentBefore = ProcessMemory.resident();
          liveBefore = liveObjects();
        }
        if (i % step == 0) {
          report(i, thrown);
        }
      }
      double growth = ProcessMemory.resident() / (double) residentBefore - 1;
      long left = liveObjects() - liveBefore;
      boolean flat = growth < ALLOWED_GROWTH && left <= 0;
      System.out.printf(
          Locale.ROOT,
          "after the first %d: resident set %+.2f %%, native objects %+d: %s%n",
          warmUp,
          growth * 100,
          left,
          flat ? "ok" : "GROWS");
      return flat;
    }
  }

  private static void report(int done, int thrown) {
    System.out.printf(
        Locale.ROOT,
        "%6d encodes, %d thrown: resident %.1f MiB, %d native objects%n",
        done,
        thrown,
        ProcessMemory.resident() / 1024.0 / 1024.0,
        liveObjects());
  }

  /** A lane frees its last objects just after it has handed over a result: waits for it to rest. */
  private static long liveObjects() {
    long least = Long.MAX_VALUE;
    for (int i = 0; i < 20; i++) {
      least = Math.min(least, TensorScope.liveObjects());
      try {
        Thread.sleep(5);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        break;
      }
    }
    return least;
  }

  private static String text(SplittableRandom random) {
    return random
        .ints(random.nextInt(1, 60), 0, WORDS.length)
        .mapToObj(i -> WORDS[i])
        .collect(Collectors.joining(" "));
  }

  private static int fail(Encoder encoder, int number) {
    String text =
        switch (number % 3) {
          case 0 -> "   ";
          case 1 -> TOO_LONG;
          default -> "half a pair: \ud83e";
        };
    try {
      encoder.encode(text, Mode.SELF);
    } catch (LlaraException | IllegalArgumentException e) {
      return 1;
    }
    throw new IllegalStateException("a bad text was encoded: " + text.length() + " characters");
  }

  private static void check(float[] vector) {
    double squares = 0;
    for (float value : vector) {
      squares += (double) value * value;
    }
    if (!(Math.abs(squares - 1) < 1e-4)) {
      throw new IllegalStateException("an embedding has the squared length " + squares);
    }
  }
}
