package io.llara.examples;

import io.llara.Encoder;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.CorpusVectors;
import io.llara.retrieval.CorpusVectors.Encoding;
import io.llara.retrieval.CorpusVectors.Target;
import io.llara.retrieval.ModelFingerprint;
import io.llara.retrieval.Shard;
import io.llara.retrieval.TextSet;
import io.llara.retrieval.VectorStorage;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** A collection in, a file of its vectors out. */
@Command(
    name = "encode-corpus",
    description = {
      "Encodes the passages of a collection into a file of vectors, for evaluate, search and mine"
          + " --vectors.",
      "",
      "Stopped or killed at any time, the same command goes on where it ended; until the file is"
          + " complete, it is FILE.partial. With --shard, parts of a collection are encoded on"
          + " machines of their own; merge-vectors makes one file of theirs, the same as of one"
          + " run on such a machine.",
      ""
    })
final class EncodeCorpusCommand extends Subcommand {
  @Mixin private EncoderOptions options = new EncoderOptions();
  @Mixin private KindOptions kinds = new KindOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "The model: a Hugging Face directory, a GGUF file, or owner/name of the hub.")
  private Path model = Path.of("");

  @Option(
      names = "--corpus",
      required = true,
      paramLabel = "FILE",
      description =
          "The collection in BEIR format: one JSON object per line with _id, title and text; plain or"
              + " gzipped.")
  private Path corpusFile = Path.of("");

  @Option(names = "--out", required = true, paramLabel = "FILE", description = "The vectors.")
  private Path out = Path.of("");

  @Option(
      names = "--storage",
      paramLabel = CacheOptions.STORAGES,
      defaultValue = "float32",
      description = CacheOptions.STORAGE_DESCRIPTION)
  private VectorStorage storage = VectorStorage.FLOAT32;

  @Option(
      names = "--shard",
      paramLabel = "I/N",
      converter = ShardConverter.class,
      description = "Encode the I-th of N parts, as in 1/4 (default: all).")
  private Shard shard = Shard.WHOLE;

  /** Reads a shard such as {@code 1/4}. */
  static final class ShardConverter implements ITypeConverter<Shard> {
    @Override
    public Shard convert(String value) {
      if (!value.matches("\\d{1,6}/\\d{1,6}")) {
        throw new TypeConversionException(
            "'%s' is not a shard; expected one as in 1/4".formatted(value));
      }
      String[] numbers = value.split("/");
      try {
        return new Shard(Integer.parseInt(numbers[0]), Integer.parseInt(numbers[1]));
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }

  @Override
  public Integer call() {
    model = directory(model);
    Optional<Path> adapter = options.adapter();
    new Outputs()
        .reads("--corpus", List.of(corpusFile))
        .reads("--model", List.of(model))
        .reads("--adapter", adapter.stream().toList())
        .writes("--out", out);
    Corpus corpus = Corpus.of(corpusFile);
    Corpus.Summary summary = corpus.summarizeUnique();
    TextSet texts = TextSet.of(corpus, summary);
    long count = shard.end(texts.count()) - shard.begin(texts.count());
    String fingerprint = new ModelFingerprint(Optional.empty()).of(model, adapter);
    try (ProgressOptions.Bar bar = progress.bar(streams());
        Encoder encoder = kinds.applyTo(options.encoder(model)).progress(bar).build()) {
      CorpusVectors.encode(
          texts,
          new Encoding(encoder.forPassages(), encoder.modes().passage(), fingerprint),
          new Target(out, storage, shard),
          there -> {
            if (there > 0) {
              streams().note("%d of %d passages were encoded before".formatted(there, count));
            }
            bar.start("encoding passages", count - there);
          });
      // A sentence would tear the bar.
      bar.close();
      EncoderOptions.noteCuts(streams(), encoder);
    }
    int blank = summary.blankIds().size();
    streams()
        .result(
            "%s: the vectors of %d passages%s"
                .formatted(
                    out,
                    count,
                    blank > 0 ? "; %d documents without text have none".formatted(blank) : ""));
    return Llara.OK;
  }
}
