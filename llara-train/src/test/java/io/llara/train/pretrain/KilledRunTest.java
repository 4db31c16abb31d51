package io.llara.train.pretrain;

import io.llara.train.testing.KilledRunContract;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;

@Tag("slow")
class KilledRunTest extends KilledRunContract {
  @Override
  protected Path data(Path folder) {
    return Runs.data(folder, 60);
  }

  @Override
  protected Pretrainer.Builder builder(Path model, Path data, Path out) {
    return Runs.lora(model, data, out).steps(STEPS).saveEvery(5).evaluateEvery(10);
  }

  @Override
  protected Class<?> child() {
    return Child.class;
  }

  /** The process that is killed. */
  public static final class Child {
    private Child() {}

    public static void main(String[] arguments) {
      new KilledRunTest().runSlowly(arguments);
    }
  }
}
