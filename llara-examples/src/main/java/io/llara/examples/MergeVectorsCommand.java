package io.llara.examples;

import io.llara.retrieval.CorpusVectors;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Shards in, one file of vectors out. */
@Command(
    name = "merge-vectors",
    description = {
      "Makes one file of the vectors that encode-corpus --shard wrote.",
      "",
      "All shards of one collection are needed, in any order, made with the same model and"
          + " settings.",
      ""
    })
final class MergeVectorsCommand extends Subcommand {
  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "The vectors of the whole collection.")
  private Path out = Path.of("");

  @Parameters(paramLabel = "SHARD", arity = "1..*", description = "The shards.")
  private List<Path> shards = new ArrayList<>();

  @Override
  public Integer call() {
    new Outputs().reads("SHARD", shards).writes("--out", out);
    CorpusVectors.merge(out, shards);
    streams().result("%s: %d shards".formatted(out, shards.size()));
    return Llara.OK;
  }
}
