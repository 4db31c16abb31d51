package io.llara.train.contrastive;

import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.LlaraException;
import io.llara.TextModes;
import io.llara.io.Messages;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.CorpusVectors;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.CorpusVectors.Encoding;
import io.llara.retrieval.CorpusVectors.Target;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.HnswOptions;
import io.llara.retrieval.ModelFingerprint;
import io.llara.retrieval.Shard;
import io.llara.retrieval.TextSet;
import io.llara.retrieval.VectorStorage;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.mining.HardNegativeMiner;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Refreshes negatives by a search with the model's own embeddings (ANCE, arXiv 2007.00808): what
 * the model as it is takes for near to a query, and is none of its positives. See {@link
 * HardNegativeMiner}, whose report stays beside the pairs. Where several processes train, each
 * encodes a share of the miner's collection; one searches. The passages of the pairs, where there
 * is no collection, one process encodes alone.
 *
 * <pre>{@code
 * NegativeRefresher refresher =
 *     new MiningRefresher(
 *         HardNegativeMiner.builder()
 *             .corpus(Corpus.of(Path.of("corpus.jsonl.gz")))
 *             .ranks(10, 100)
 *             .build(),
 *         TextModes.N2S);
 * }</pre>
 *
 * @param miner which of the passages found become negatives
 * @param modes the modes that are trained
 * @param encoder sets how texts are encoded: threads, compute type
 * @param hnsw graphs that are searched instead of every passage
 */
public record MiningRefresher(
    HardNegativeMiner miner,
    TextModes modes,
    UnaryOperator<EncoderBuilder> encoder,
    Optional<HnswOptions> hnsw)
    implements NegativeRefresher {
  private static final String MERGED = "passages.vectors";

  /** Refreshes by an exact search, with an encoder's defaults. */
  public MiningRefresher(HardNegativeMiner miner, TextModes modes) {
    this(miner, modes, UnaryOperator.identity(), Optional.empty());
  }

  private Encoder open(Path model) {
    return encoder.apply(Encoder.builder(model).modes(modes)).build();
  }

  private static String fingerprint(Path model) {
    return new ModelFingerprint(Optional.empty()).of(model, Optional.empty());
  }

  @Override
  public void share(Path model, Dataset<TrainingPair> pairs, Shard share, Path folder) {
    if (miner.corpus().isEmpty()) {
      return;
    }
    TextSet passages = TextSet.of(miner.corpus().get());
    try (Encoder trained = open(model)) {
      CorpusVectors.encode(
          passages,
          new Encoding(trained.forPassages(), modes.passage(), fingerprint(model)),
          new Target(file(folder, share), VectorStorage.FLOAT32, share),
          there -> {});
    }
  }

  private static Path file(Path folder, Shard share) {
    return folder.resolve("%d-of-%d.vectors".formatted(share.number(), share.of()));
  }

  @Override
  public void refresh(Path model, Dataset<TrainingPair> pairs, Path out) {
    try (Encoder trained = open(model)) {
      EmbeddingSearch search = EmbeddingSearch.of(trained);
      Path folder = NegativeRefresher.shares(out);
      List<Path> shares = shares(folder);
      if (!shares.isEmpty()) {
        CorpusVectors.merge(folder.resolve(MERGED), shares);
        search =
            search.withCache(
                new CachePlace(folder, fingerprint(model)).withPassages(folder.resolve(MERGED)));
      }
      miner.mine(pairs, hnsw.map(search::withHnsw).orElse(search), out);
    }
  }

  private static List<Path> shares(Path folder) {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(folder)) {
      return files.filter(file -> file.toString().endsWith(".vectors")).sorted().toList();
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, Messages.reason(e)), e);
    }
  }

  /** In the form of the first release that refreshed; a run of it goes on. */
  @Override
  public String description() {
    Map<String, String> settings = new LinkedHashMap<>(miner.settings());
    StringBuilder words = new StringBuilder();
    words.append(settings.remove("negatives")).append(" of ranks ");
    words.append(settings.remove("ranks")).append(" in ");
    words.append(miner.corpus().map(Corpus::name).orElse("the passages of the pairs"));
    append(words, "relative margin", settings.remove("relative margin"));
    append(words, "modes", modes.spelled());
    append(words, "seed", settings.remove("seed"));
    settings.remove("sampling", "random");
    settings.remove("keep negatives", "false");
    settings.forEach((name, value) -> append(words, name, value));
    hnsw.ifPresent(options -> append(words, "by", options.toString()));
    return words.toString();
  }

  private static void append(StringBuilder words, String name, @Nullable String value) {
    if (value != null) {
      words.append(", ").append(name).append(' ').append(value);
    }
  }
}
