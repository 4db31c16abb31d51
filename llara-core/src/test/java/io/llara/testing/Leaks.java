package io.llara.testing;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.tensor.TensorScope;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;

/** Native objects that outlive their scope. */
public final class Leaks {
  private static final long PATIENCE_MILLIS = 5_000;

  private Leaks() {}

  /**
   * Runs an action and fails if the process holds more native objects after it than before. It is
   * run once before that: what is looked up once and kept for the process is no leak. Lanes may
   * take a moment to leave work that nobody waits for.
   */
  public static void assertNone(ThrowingCallable action) throws Throwable {
    action.call();
    long before = liveObjects();
    action.call();
    long deadline = System.currentTimeMillis() + PATIENCE_MILLIS;
    while (TensorScope.liveObjects() > before && System.currentTimeMillis() < deadline) {
      Thread.sleep(20);
    }
    assertThat(TensorScope.liveObjects()).as("live native objects").isLessThanOrEqualTo(before);
  }

  /**
   * Returns how many native objects live once lanes have left what they were at: a caller has its
   * result a moment before that.
   */
  public static long liveObjects() throws InterruptedException {
    long count;
    do {
      count = TensorScope.liveObjects();
      Thread.sleep(50);
    } while (count != TensorScope.liveObjects());
    return count;
  }
}
