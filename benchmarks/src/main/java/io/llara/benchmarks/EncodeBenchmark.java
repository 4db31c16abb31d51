package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.engine.EncodingEngine;
import io.llara.engine.PooledVectors;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Throughput of encoding. Beside calls per second each line has {@code tokens} per second, {@code
 * ceilingTokens}: what the {@linkplain Ceiling bare matrix products} reach, and {@code ratio}
 * between them. JMH runs benchmarks one after another; so that both meet the same machine, the
 * ceiling is measured before each iteration, in turn with it, instead of in a benchmark of its own.
 */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 1, time = 2)
@Measurement(iterations = 5, time = 2)
public class EncodeBenchmark {

  /** An engine, its prompts and their ceiling. */
  abstract static class Sides {
    private EncodingEngine engine;
    private CeilingWeights weights;
    private Ceiling ceiling;
    private Workload workload;
    private double ceilingSpeed;

    void open(Shape shape, ComputeType type, int batch, int length) {
      int lanes = Runtime.getRuntime().availableProcessors();
      engine = Engines.random(shape, type, lanes);
      workload = Workload.of(batch, length, shape.config().vocabularySize());
      workload.check(engine);
      weights = new CeilingWeights(shape.config(), type);
      ceiling = new Ceiling(weights, batch, length, lanes);
      System.out.println();
      System.out.println(Machine.describe());
      System.out.println("ceiling: " + ceiling.describeWay());
    }

    /** Takes turns with the iterations of the benchmark. */
    @Setup(Level.Iteration)
    public void measureCeiling() {
      ceilingSpeed = workload.tokens() / Stopwatch.mean(1, ceiling::run);
    }

    List<PooledVectors> encode(CeilingCounters counters) {
      long begin = System.nanoTime();
      List<PooledVectors> vectors = workload.encode(engine);
      double seconds = (System.nanoTime() - begin) / 1e9;
      counters.add(workload.tokens(), seconds, ceilingSpeed);
      return vectors;
    }

    /** Frees both sides. */
    @TearDown
    public void close() {
      ceiling.close();
      weights.close();
      engine.close();
    }
  }

  /** Hidden 768, 12 layers. */
  @State(Scope.Benchmark)
  public static class Base extends Sides {
    /** Tokens of each prompt. */
    @Param({"32", "128", "512"})
    public int length;

    /** Prompts of a call. */
    @Param({"1", "16"})
    public int batch;

    /** The compute type; {@link Benchmarks} leaves out what the processor has to emulate. */
    @Param({"float32", "bfloat16"})
    public String type;

    /** Makes both sides. */
    @Setup
    public void open() {
      open(Shape.BASE, Types.parse(type), batch, length);
    }
  }

  /** Hidden 2048, 22 layers; 16 prompts of 128 tokens. */
  @State(Scope.Benchmark)
  public static class Large extends Sides {
    /** The compute type; {@link Benchmarks} leaves out what the processor has to emulate. */
    @Param({"float32", "bfloat16"})
    public String type;

    /** Makes both sides. */
    @Setup
    public void open() {
      open(Shape.LARGE, Types.parse(type), 16, 128);
    }
  }

  /** Encodes with the base shape. */
  @Benchmark
  public Object encode(Base base, CeilingCounters counters) {
    return base.encode(counters);
  }

  /** Encodes with the large shape, a few calls only. */
  @Benchmark
  @Measurement(iterations = 3, time = 1)
  @Warmup(iterations = 1, time = 1)
  public Object encodeLarge(Large large, CeilingCounters counters) {
    return large.encode(counters);
  }
}
