package io.llara.benchmarks;

import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/** Tokens beside the ceiling's, for JMH, which divides each sum by the seconds of the iteration. */
@AuxCounters(AuxCounters.Type.OPERATIONS)
@State(Scope.Thread)
public class CeilingCounters {
  /** Tokens got through. */
  public double tokens;

  /** Tokens that the ceiling would have got through in the same time. */
  public double ceilingTokens;

  /** Seconds that the ceiling would have needed for the same tokens. */
  public double ratio;

  /** Begins anew. */
  @Setup(Level.Iteration)
  public void reset() {
    tokens = 0;
    ceilingTokens = 0;
    ratio = 0;
  }

  void add(double count, double seconds, double ceilingSpeed) {
    tokens += count;
    ceilingTokens += seconds * ceilingSpeed;
    ratio += count / ceilingSpeed;
  }
}
