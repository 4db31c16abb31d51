package io.llara.train.contrastive;

import io.llara.train.testing.ResumedRunContract;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;

@Tag("slow")
class ResumedFinetuningTest extends ResumedRunContract {
  @Override
  protected Path data(Path folder) {
    Path data = Finetunings.data(folder, 25);
    Finetunings.teach(data, Finetunings.teacher(data));
    return data;
  }

  /**
   * With a teacher, whose projection is in the checkpoints; or with refreshes. Those come before
   * the first step and after 4 and 8, which have checkpoints anyhow.
   */
  @Override
  protected ContrastiveTrainer.Builder builder(boolean lora, Path model, Path data, Path out) {
    return lora
        ? Finetunings.lora(model, data, out)
            .refresh(Refresh.every(4, Finetunings.byTheModel()).from(0))
        : Finetunings.full(model, data, out)
            .distillation(Distillation.of(List.of(Finetunings.teacher(data))))
            .matryoshka(Matryoshka.of(4, 8));
  }
}
