package io.llara.examples;

import io.llara.Encoder;
import io.llara.retrieval.ModelFingerprint;
import io.llara.train.teacher.TeacherTexts;
import io.llara.train.teacher.TextKind;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Texts in, a teacher's vectors of them out. */
@Command(
    name = "teach",
    customSynopsis = "llara teach --model DIR --texts FILE... --out FILE [OPTION...]",
    sortOptions = false,
    description = {
      "Embeds the texts of training files with a model, once each, for others to learn from (llara"
          + " finetune --teacher).",
      ""
    })
final class TeachCommand extends Subcommand {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "The teacher: a Hugging Face directory.")
  private Path model = Path.of("");

  @Option(
      names = "--texts",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description =
          "JSON lines, plain or gzipped: pairs {\"query\": …, \"pos\": [ … ], \"neg\": [ … ]}, or"
              + " passages {\"text\": …}.")
  private List<Path> texts = new ArrayList<>();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "The vectors, in float16, by text: a safetensors file.")
  private Path out = Path.of("");

  @Mixin private KindOptions kinds = new KindOptions();
  @Mixin private EncoderOptions options = new EncoderOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Override
  public Integer call() {
    model = directory(model);
    new Outputs()
        .reads("--texts", texts)
        .reads("--model", List.of(model))
        .reads("--adapter", options.adapter().stream().toList())
        .writes("--out", out);
    TeacherTexts all = TeacherTexts.read(texts);
    try (ProgressOptions.Bar bar = progress.start(streams(), "encoding", all.count());
        Encoder encoder = kinds.applyTo(options.encoder(model)).progress(bar).build()) {
      all.write(encoder, name(encoder), out);
      EncoderOptions.noteCuts(streams(), encoder);
    }
    streams()
        .result(
            "%s: vectors of %d queries and %d passages"
                .formatted(out, all.count(TextKind.QUERY), all.count(TextKind.PASSAGE)));
    return Llara.OK;
  }

  /** What the vectors depend on, but the texts. */
  private String name(Encoder encoder) {
    return "%s %s, %s, %s, queries of %d tokens, passages of %d"
        .formatted(
            model.toAbsolutePath().normalize().getFileName(),
            new ModelFingerprint(Optional.empty()).of(model, options.adapter()),
            encoder.template().name(),
            encoder.modes().spelled(),
            encoder.forQueries().maxTokens(),
            encoder.forPassages().maxTokens());
  }
}
