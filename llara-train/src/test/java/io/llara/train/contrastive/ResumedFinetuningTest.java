package io.llara.train.contrastive;

import io.llara.train.testing.ResumedRunContract;
import java.nio.file.Path;

class ResumedFinetuningTest extends ResumedRunContract {
  @Override
  protected Path data(Path folder) {
    return Finetunings.data(folder, 25);
  }

  /** Refreshes come before the first step and after 4 and 8, which have checkpoints anyhow. */
  @Override
  protected ContrastiveTrainer.Builder builder(boolean lora, Path model, Path data, Path out) {
    return lora
        ? Finetunings.lora(model, data, out)
            .refresh(Refresh.every(4, Finetunings.byTheModel()).from(0))
        : Finetunings.full(model, data, out);
  }
}
