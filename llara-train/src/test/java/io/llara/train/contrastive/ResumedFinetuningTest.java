package io.llara.train.contrastive;

import io.llara.train.testing.ResumedRunContract;
import java.nio.file.Path;

class ResumedFinetuningTest extends ResumedRunContract {
  @Override
  protected Path data(Path folder) {
    return Finetunings.data(folder, 25);
  }

  /** Refreshes come after steps with a checkpoint and without, with an evaluation and without. */
  @Override
  protected ContrastiveTrainer.Builder builder(boolean lora, Path model, Path data, Path out) {
    return lora
        ? Finetunings.lora(model, data, out)
            .refresh(Refresh.every(2, Finetunings.byTheModel()).from(2))
        : Finetunings.full(model, data, out);
  }
}
