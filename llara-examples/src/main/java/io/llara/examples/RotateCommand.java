package io.llara.examples;

import io.llara.BlankTexts;
import io.llara.train.checkpoint.ModelRotator;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/** A model in, the same with rotated vectors out. */
@Command(
    name = "rotate",
    description = {
      "Rotates the vectors of a model so that their first components say most, for shorter vectors",
      "(Encoder.builder(…).dimension(128)).",
      "",
      "Whole vectors stay as similar to each other as they were. Do it last: a rotated model cannot",
      "be trained.",
      ""
    })
final class RotateCommand extends Subcommand {
  @Mixin private ModelOption model = new ModelOption();

  @Mixin private NewDirectoryOption out = new NewDirectoryOption();

  @Parameters(
      paramLabel = "FILE|-",
      description = {
        "Passages of the kind that will be searched, one a line; - for standard input. At least as",
        "many as a vector has components, a few thousand are plenty."
      })
  private String texts = "";

  @Override
  public Integer call() {
    try (TextLines lines = TextLines.open(texts, streams().in(), BlankTexts.SKIP);
        Stream<String> all = lines.texts()) {
      ModelRotator.write(model.value(), out.value(), all.toList());
    }
    streams().result("%s: %s with rotated vectors".formatted(out.value(), model.value()));
    return Llara.OK;
  }
}
