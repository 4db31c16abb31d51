package io.llara.examples;

import io.llara.train.checkpoint.ModelShrinker;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A model in, one with fewer layers or tokens out. */
@Command(
    name = "shrink",
    description = {
      "Makes a smaller model of a model: some of its layers, the first tokens of its vocabulary.",
      "",
      "Fewer tokens cost little: rare words are spelled with more of them. A model with fewer layers",
      "must be trained again.",
      ""
    })
final class ShrinkCommand extends Subcommand {
  @Mixin private ModelOption model = new ModelOption();

  @Mixin private NewDirectoryOption out = new NewDirectoryOption();

  @Option(
      names = "--layers",
      split = ",",
      paramLabel = "FROM-TO",
      description = "The layers to keep, from 0 on, such as 0-11,26-29 (default: all).")
  private List<String> layers = List.of();

  @Option(
      names = "--vocab",
      paramLabel = "N",
      description = "Truncate the vocabulary to N tokens (default: keep it whole).")
  private Optional<Integer> vocabulary = Optional.empty();

  @Override
  public Integer call() {
    List<Integer> kept = new ArrayList<>();
    for (String range : layers) {
      if (!range.matches("\\d{1,4}(-\\d{1,4})?")) {
        throw usageError("--layers has %s; expected a layer or two, as in 0-11".formatted(range));
      }
      String[] ends = range.split("-");
      for (int i = Integer.parseInt(ends[0]); i <= Integer.parseInt(ends[ends.length - 1]); i++) {
        kept.add(i);
      }
    }
    if (kept.isEmpty() && vocabulary.isEmpty()) {
      throw usageError("nothing is to be left out; give --layers or --vocab");
    }
    ModelShrinker.write(
        model.value(),
        out.value(),
        kept,
        vocabulary.map(OptionalInt::of).orElse(OptionalInt.empty()));
    streams().result(InitCommand.summary(out.value()));
    return Llara.OK;
  }
}
