package io.llara.train.contrastive;

import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.TextModes;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.mining.HardNegativeMiner;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Refreshes negatives by an exact search with the model's own embeddings (ANCE, arXiv 2007.00808):
 * what the model as it is takes for near to a query, and is none of its positives. See {@link
 * HardNegativeMiner}, whose report stays beside the pairs.
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
 */
public record MiningRefresher(
    HardNegativeMiner miner, TextModes modes, UnaryOperator<EncoderBuilder> encoder)
    implements NegativeRefresher {

  /** Refreshes with an encoder's defaults. */
  public MiningRefresher(HardNegativeMiner miner, TextModes modes) {
    this(miner, modes, UnaryOperator.identity());
  }

  @Override
  public void refresh(Path model, Dataset<TrainingPair> pairs, Path out) {
    try (Encoder trained = encoder.apply(Encoder.builder(model).modes(modes)).build()) {
      miner.mine(pairs, EmbeddingSearch.of(trained), out);
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
    return words.toString();
  }

  private static void append(StringBuilder words, String name, @Nullable String value) {
    if (value != null) {
      words.append(", ").append(name).append(' ').append(value);
    }
  }
}
