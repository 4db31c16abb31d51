package io.llara.examples;

import io.llara.train.checkpoint.VocabularyGrowth;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** A model in, the same with the markers of the released recipe out. */
@Command(
    name = "add-markers",
    description = {
      "Copies a model and adds the sixteen markers <s1> to <s16> to its vocabulary.",
      "",
      "llara pretrain needs them for recipe released. Their embeddings start at the mean of all"
          + " tokens' embeddings plus a little noise.",
      ""
    })
final class AddMarkersCommand extends Subcommand {
  @Mixin private SeedOption seed = new SeedOption();

  @Mixin private ModelOption model = new ModelOption();

  @Mixin private NewDirectoryOption out = new NewDirectoryOption();

  @Override
  public Integer call() {
    List<String> added = VocabularyGrowth.addMarkers(model.value(), out.value(), seed.value());
    streams()
        .result(
            "%s: %d tokens added: %s"
                .formatted(out.value(), added.size(), String.join(" ", added)));
    return Llara.OK;
  }
}
