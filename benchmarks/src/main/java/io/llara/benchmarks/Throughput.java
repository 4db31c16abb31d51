package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.benchmarks.Stopwatch.Spread;
import io.llara.engine.EncodingEngine;
import io.llara.tensor.Libtorch;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Measures encoding against the {@linkplain Ceiling speed of its bare matrix products}, both in
 * turn within one process, and prints Markdown tables. Ratios are made within a round, so that a
 * machine that is slower for a while slows both sides; what is printed is their median, and the
 * lowest and highest.
 *
 * <pre>{@code
 * Throughput [--rounds N] [--seconds S] [--lanes N] shape/type/work …
 * }</pre>
 *
 * <p>The peak resident set of a row is that of the process while it encodes these prompts for the
 * first time, before there is a ceiling: weights, libraries and JVM included. Only for the first
 * model of a run, because memory that a process has freed may stay resident.
 */
public final class Throughput {
  private static final int[] MIXED_LENGTHS = {16, 32, 48, 64, 96, 128, 192, 256, 384, 512};
  private static final int MIXED_PROMPTS = 16;
  private static final int LANES_BATCH = 16;
  private static final int LANES_LENGTH = 128;

  private final Measuring measuring;
  private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private boolean firstModel = true;
  private boolean inTable;

  private Throughput(Measuring measuring) {
    this.measuring = measuring;
  }

  /** Models are built once for all scenarios that share one. */
  private record ModelKey(Shape shape, ComputeType type) {}

  /** Runs the scenarios that are named. */
  public static void main(String[] args) {
    Measuring measuring;
    List<Scenario> scenarios = new ArrayList<>();
    try {
      measuring = Measuring.parse(args, 1);
      measuring.works().forEach(work -> scenarios.addAll(Scenario.parse(work)));
      if (scenarios.isEmpty()) {
        throw new IllegalArgumentException("expected at least one scenario");
      }
    } catch (IllegalArgumentException e) {
      System.err.println("Throughput: " + e.getMessage());
      System.err.println(
          "usage: Throughput [--rounds N] [--seconds S] [--lanes N] shape/type/work …\n"
              + "  shape  tiny, base, large, llama2_7b\n"
              + "  type   float32, bfloat16, int8, native (those the processor multiplies natively)\n"
              + "  work   <batch>x<length>, mixed, lanes, float32; every part may be a list with commas");
      System.exit(2);
      return;
    }
    Libtorch.load();
    new Throughput(measuring).run(scenarios);
  }

  private void run(List<Scenario> scenarios) {
    out.println(Machine.describe());
    out.println(measuring);
    Map<ModelKey, List<Scenario>> byModel = new LinkedHashMap<>();
    for (Scenario scenario : scenarios) {
      byModel
          .computeIfAbsent(
              new ModelKey(scenario.shape(), scenario.type()), key -> new ArrayList<>())
          .add(scenario);
    }
    byModel.forEach(this::run);
  }

  private void run(ModelKey key, List<Scenario> scenarios) {
    progress("%s %s: making weights", key.shape(), Types.name(key.type()));
    try (EncodingEngine engine = Engines.random(key.shape(), key.type(), measuring.lanes())) {
      List<Scenario> batches = scenarios.stream().filter(Scenario::isBatch).toList();
      if (!batches.isEmpty()) {
        againstCeiling(engine, key, batches);
      }
      for (Scenario scenario : scenarios) {
        switch (scenario.work()) {
          case Scenario.MIXED -> mixed(engine, scenario);
          case Scenario.LANES -> lanes(engine, scenario);
          case Scenario.FLOAT32 -> float32(engine, scenario);
          default -> {
            // measured above
          }
        }
      }
    }
    firstModel = false;
  }

  private void againstCeiling(EncodingEngine engine, ModelKey key, List<Scenario> batches) {
    Map<Scenario, Long> peaks = new HashMap<>();
    for (Scenario scenario : batches) {
      ProcessMemory.resetPeak();
      workload(scenario).check(engine);
      peaks.put(scenario, firstModel ? ProcessMemory.peak() : -1);
    }
    try (CeilingWeights weights = new CeilingWeights(key.shape().config(), key.type())) {
      for (Scenario scenario : batches) {
        progress("%s: looking for the ceiling", scenario);
        try (Ceiling ceiling =
            new Ceiling(weights, scenario.batch(), scenario.length(), measuring.lanes())) {
          againstCeiling(engine, scenario, ceiling, peaks.get(scenario));
        }
      }
    }
  }

  private void againstCeiling(
      EncodingEngine engine, Scenario scenario, Ceiling ceiling, long peak) {
    Workload workload = workload(scenario);
    workload.encode(engine);
    ceiling.run();
    List<Double> ours = new ArrayList<>();
    List<Double> bare = new ArrayList<>();
    List<Double> ratios = new ArrayList<>();
    for (int round = 1; round <= measuring.rounds(); round++) {
      double least = Stopwatch.mean(measuring.seconds(), ceiling::run);
      double taken = encodeSeconds(engine, workload);
      bare.add(workload.tokens() / least);
      ours.add(workload.tokens() / taken);
      ratios.add(least / taken);
      progress(
          "%s: round %d of %d, ratio %.3f", scenario, round, measuring.rounds(), least / taken);
    }
    header();
    out.printf(
        Locale.ROOT,
        "| %s | %s | %d × %d | %.0f | %.0f | %s | %s | %s |%n",
        scenario.shape(),
        Types.name(scenario.type()),
        scenario.batch(),
        scenario.length(),
        Spread.of(ours).median(),
        Spread.of(bare).median(),
        Spread.of(ratios),
        ceiling.describeWay(),
        peak < 0 ? "–" : peak >> 20);
  }

  private void header() {
    if (!inTable) {
      out.println();
      out.println(
          "| shape | type | batch × length | tokens/s | ceiling tokens/s | ratio (min–max)"
              + " | ceiling's way | peak RSS, MiB |");
      out.println("|---|---|---|---:|---:|---|---|---:|");
      inTable = true;
    }
  }

  private static Workload workload(Scenario scenario) {
    return Workload.of(
        scenario.batch(), scenario.length(), scenario.shape().config().vocabularySize());
  }

  private double encodeSeconds(EncodingEngine engine, Workload workload) {
    return Stopwatch.mean(
        measuring.seconds(), () -> Stopwatch.seconds(() -> workload.encode(engine)));
  }

  /** The same prompts in one call, and each length in a call of its own. */
  private void mixed(EncodingEngine engine, Scenario scenario) {
    int vocabulary = scenario.shape().config().vocabularySize();
    Workload together =
        Workload.of(
            IntStream.range(0, MIXED_PROMPTS * MIXED_LENGTHS.length)
                .map(i -> MIXED_LENGTHS[i % MIXED_LENGTHS.length])
                .toArray(),
            vocabulary);
    List<Workload> apart =
        IntStream.of(MIXED_LENGTHS)
            .mapToObj(length -> Workload.of(MIXED_PROMPTS, length, vocabulary))
            .toList();
    together.check(engine);
    apart.forEach(workload -> workload.encode(engine));
    List<Double> togetherSpeeds = new ArrayList<>();
    List<Double> apartSpeeds = new ArrayList<>();
    List<Double> ratios = new ArrayList<>();
    for (int round = 1; round <= measuring.rounds(); round++) {
      double apartSeconds =
          Stopwatch.mean(
              measuring.seconds(),
              () -> Stopwatch.seconds(() -> apart.forEach(workload -> workload.encode(engine))));
      double togetherSeconds = encodeSeconds(engine, together);
      apartSpeeds.add(together.tokens() / apartSeconds);
      togetherSpeeds.add(together.tokens() / togetherSeconds);
      ratios.add(apartSeconds / togetherSeconds);
      progress("%s: round %d of %d", scenario, round, measuring.rounds());
    }
    inTable = false;
    out.printf(
        Locale.ROOT,
        "%n%s: %d prompts of 16…512 tokens: in one call %.0f tokens/s, each length in its own"
            + " %.0f; speed ratio %s%n",
        scenario,
        together.prompts().size(),
        Spread.of(togetherSpeeds).median(),
        Spread.of(apartSpeeds).median(),
        Spread.of(ratios));
  }

  /** An engine with one lane against one with all. */
  private void lanes(EncodingEngine all, Scenario scenario) {
    try (EncodingEngine one = Engines.random(scenario.shape(), scenario.type(), 1)) {
      against(one, "1 lane", all, measuring.lanes() + " lanes", scenario);
    }
  }

  /** An engine of another type against one in float32. */
  private void float32(EncodingEngine engine, Scenario scenario) {
    try (EncodingEngine floats =
        Engines.random(scenario.shape(), ComputeType.FLOAT32, measuring.lanes())) {
      against(floats, "float32", engine, Types.name(scenario.type()), scenario);
    }
  }

  private void against(
      EncodingEngine base, String baseName, EncodingEngine engine, String name, Scenario scenario) {
    Workload workload =
        Workload.of(LANES_BATCH, LANES_LENGTH, scenario.shape().config().vocabularySize());
    workload.check(base);
    workload.check(engine);
    List<Double> baseSpeeds = new ArrayList<>();
    List<Double> speeds = new ArrayList<>();
    List<Double> ratios = new ArrayList<>();
    for (int round = 1; round <= measuring.rounds(); round++) {
      double baseSeconds = encodeSeconds(base, workload);
      double seconds = encodeSeconds(engine, workload);
      baseSpeeds.add(workload.tokens() / baseSeconds);
      speeds.add(workload.tokens() / seconds);
      ratios.add(baseSeconds / seconds);
      progress("%s: round %d of %d", scenario, round, measuring.rounds());
    }
    inTable = false;
    out.printf(
        Locale.ROOT,
        "%n%s: %d × %d tokens: %s %.0f tokens/s, %s %.0f; speed-up %s%n",
        scenario,
        LANES_BATCH,
        LANES_LENGTH,
        baseName,
        Spread.of(baseSpeeds).median(),
        name,
        Spread.of(speeds).median(),
        Spread.of(ratios));
  }

  private static void progress(String format, Object... values) {
    System.err.printf(Locale.ROOT, format + "%n", values);
  }
}
