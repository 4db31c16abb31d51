package io.llara.benchmarks;

import java.io.IOException;
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
 * Throughput of forward and backward in training, beside the {@linkplain TrainingCeiling bare
 * matrix products} of the same, which have their turn before each iteration; see {@link
 * EncodeBenchmark}.
 */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 1, time = 2)
@Measurement(iterations = 8, time = 4)
public class TrainingBenchmark {

  /** A model in training, and its ceiling. */
  @State(Scope.Benchmark)
  public static class Sides {
    /** Sequences and their tokens. */
    @Param({"16x128", "4x512"})
    public String size;

    /** The compute type; {@link Benchmarks} leaves out what the processor has to emulate. */
    @Param({"float32", "bfloat16"})
    public String type;

    private TrainingSides sides;
    private double ceilingSpeed;

    /** Makes both sides. */
    @Setup
    public void open() throws IOException {
      int lanes = Runtime.getRuntime().availableProcessors();
      sides = new TrainingSides(TrainingSides.Work.parse(type, size), lanes);
      System.out.println();
      System.out.println(Machine.describe());
      System.out.println("ceiling: " + sides.ceiling().describeWay());
    }

    /** Takes turns with the iterations of the benchmark. */
    @Setup(Level.Iteration)
    public void measureCeiling() {
      ceilingSpeed = sides.step().tokens() / Stopwatch.mean(4, sides.ceiling()::run);
    }

    double step(boolean recompute, CeilingCounters counters) {
      long begin = System.nanoTime();
      double loss = sides.step().run(recompute);
      counters.add(sides.step().tokens(), (System.nanoTime() - begin) / 1e9, ceilingSpeed);
      return loss;
    }

    /** Frees both sides. */
    @TearDown
    public void close() throws IOException {
      sides.close();
    }
  }

  /** Keeps what the backward pass needs. */
  @Benchmark
  public double recorded(Sides sides, CeilingCounters counters) {
    return sides.step(false, counters);
  }

  /** Runs layers again in the backward pass, which the ceiling does not count. */
  @Benchmark
  public double recomputed(Sides sides, CeilingCounters counters) {
    return sides.step(true, counters);
  }
}
