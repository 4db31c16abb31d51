package io.llara.train.mining;

import io.llara.Encoder;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import java.nio.file.Path;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/**
 * Mines with whatever model it is given: for training that looks for new negatives as its model
 * changes (ANCE, arXiv 2007.00808, section 4).
 *
 * <pre>{@code
 * ModelMiner miner =
 *     new ModelMiner(
 *         model -> Encoder.builder(model).maxTokens(128).build(),
 *         EmbeddingSearch::of,
 *         settings -> settings.corpus(corpus).ranks(10, 200).negatives(15));
 * MiningReport report = miner.mine(Path.of("trained-so-far"), pairs, Path.of("mined.jsonl"));
 * }</pre>
 *
 * @param encoder opens a model; what it returns is closed when the mining ends
 * @param search says how the embeddings are searched
 * @param settings says what is looked for; it need not set a search
 */
public record ModelMiner(
    Function<Path, Encoder> encoder,
    Function<Encoder, EmbeddingSearch> search,
    UnaryOperator<HardNegativeMiner.Builder> settings) {

  /**
   * Mines negatives for pairs by a model's embeddings.
   *
   * @param model the model's directory
   * @param pairs the pairs that get negatives
   * @param out the file to write
   * @return what was found, dropped and kept
   * @throws RuntimeException as {@link HardNegativeMiner#mine}, or what the encoder throws
   */
  public MiningReport mine(Path model, Dataset<TrainingPair> pairs, Path out) {
    try (Encoder open = encoder.apply(model)) {
      return settings
          .apply(HardNegativeMiner.builder(pairs))
          .embeddings(search.apply(open))
          .build()
          .mine(out);
    }
  }
}
