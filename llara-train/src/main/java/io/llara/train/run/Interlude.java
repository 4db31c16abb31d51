package io.llara.train.run;

import io.llara.Internal;
import java.util.function.BooleanSupplier;

/**
 * Work between two steps that all processes of a run take part in. The state of the run is saved
 * before, so that work that did not come to its end is begun again by the run that goes on there:
 * it must give the same once more, or find that it is done.
 */
@Internal
public interface Interlude {
  /** Nothing, ever. */
  Interlude NONE =
      new Interlude() {
        @Override
        public boolean isDue(long step) {
          return false;
        }

        @Override
        public boolean run(long step, BooleanSupplier stopRequested) {
          return true;
        }
      };

  /**
   * Returns whether there is work after this step and before the next; the same in each process.
   */
  boolean isDue(long step);

  /**
   * Does the work.
   *
   * @param stopRequested whether it should be given up; any process can give up for all
   * @return whether it is done; the same in each process
   */
  boolean run(long step, BooleanSupplier stopRequested);
}
