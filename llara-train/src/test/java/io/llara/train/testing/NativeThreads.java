package io.llara.train.testing;

import io.llara.tensor.Libtorch;
import org.bytedeco.pytorch.global.torch;

/** How many threads libtorch itself uses for what the test's thread computes. */
public final class NativeThreads {
  private NativeThreads() {}

  /**
   * Sets it to one, as the lanes of training have it. Tiny tensors need no more, and on a machine
   * with other work threads that wait for each other make a test a hundred times slower.
   */
  public static void one() {
    Libtorch.load();
    torch.set_num_threads(1);
  }
}
