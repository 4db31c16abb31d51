package io.llara.train.contrastive;

import io.llara.train.testing.KilledRunContract;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;

@Tag("slow")
class KilledFinetuningTest extends KilledRunContract {
  @Override
  protected Path data(Path folder) {
    return Finetunings.data(folder, 60);
  }

  @Override
  protected ContrastiveTrainer.Builder builder(Path model, Path data, Path out) {
    return Finetunings.lora(model, data, out)
        .refresh(Refresh.every(10, Finetunings.byTheModel()).from(5))
        .steps(STEPS)
        .saveEvery(5)
        .evaluateEvery(10);
  }

  @Override
  protected Class<?> child() {
    return Child.class;
  }

  /** The process that is killed. */
  public static final class Child {
    private Child() {}

    public static void main(String[] arguments) {
      new KilledFinetuningTest().runSlowly(arguments);
    }
  }
}
