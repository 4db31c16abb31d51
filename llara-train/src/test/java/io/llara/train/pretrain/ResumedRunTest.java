package io.llara.train.pretrain;

import io.llara.train.testing.ResumedRunContract;
import java.nio.file.Path;

class ResumedRunTest extends ResumedRunContract {
  @Override
  protected Path data(Path folder) {
    return Runs.data(folder, 25);
  }

  @Override
  protected Pretrainer.Builder builder(boolean lora, Path model, Path data, Path out) {
    return lora ? Runs.lora(model, data, out) : Runs.full(model, data, out);
  }
}
